# Paths longer than any name can be: whoever clears up by path cannot.
import os
depth = 0
try:
    while depth < 1500:
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
        depth += 1
except OSError as e:
    print(e.errno)
print(depth > 500)
