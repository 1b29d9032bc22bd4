import sys
print(sys.argv, sys.path[0])
print(sys.flags, sys.executable, sys.prefix, sys.dont_write_bytecode, sys.stdout.encoding, sys.stderr.errors, sys.stdin.encoding)
print(sys.path)
