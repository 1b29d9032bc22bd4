# Whoever reads until the pipe is empty after the program's end reads for ever.
import os
for _ in range(12):
    if os.fork() == 0:
        while True:
            os.write(1, b"x" * 65536)
os._exit(0)
