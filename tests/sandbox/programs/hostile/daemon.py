# The classic way out of a session: fork, setsid, fork, every stream elsewhere.
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        while True:
            time.sleep(0.01)
    os._exit(0)
os.wait()
print("parent done")
