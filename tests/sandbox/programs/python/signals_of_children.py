import os, signal
for s in range(1, 65):
    if s not in (9, 19, 32, 33, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT): signal.signal(s, signal.SIG_DFL)
import subprocess
print(subprocess.run(["bash", "-c", "trap; yes | head -1; echo ${PIPESTATUS[@]}"], capture_output=True, text=True))
print(subprocess.run(["bash", "-c", "kill -9 $$"]).returncode)
print(open("/proc/self/status").read().split("SigBlk")[1].split("SigIgn")[0])
