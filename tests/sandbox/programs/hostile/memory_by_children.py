import os, time
for _ in range(8):
    if os.fork() == 0:
        x = bytearray(40 << 20)
        time.sleep(1000)
os.wait()
import sys
sys.exit("a child was killed")
