import os, signal
print("parent", os.getppid())
for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGCONT, signal.SIGSEGV):
    try:
        os.kill(1, number)
    except OSError as e:
        print(e.errno)
try:
    os.kill(2**22 - 1, signal.SIGKILL)
except OSError as e:
    print(e.errno)
print("alive", os.path.exists("/proc/1"))
