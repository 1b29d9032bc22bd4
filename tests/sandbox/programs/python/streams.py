import sys
for s in (sys.stdin, sys.stdout, sys.stderr):
    print(s.name, s.mode, s.encoding, s.errors, s.isatty(), s.fileno(), s.readable(), s.writable(), s.closed)
print(sys.stdout is sys.__stdout__, type(sys.stdout.buffer).__name__, type(sys.stdin.buffer).__name__)
print(sys.stdout, sys.stderr)
sys.stdout.flush()
sys.stdout.buffer.write(b"raw \x80\n")
