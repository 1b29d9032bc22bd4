import os, signal, time
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    children.append(pid)
os.kill(-1, signal.SIGKILL)  # everybody but the caller and pid 1 (kill(2))
print(sorted(os.waitpid(c, 0)[1] for c in children), os.path.exists("/proc/1"))
