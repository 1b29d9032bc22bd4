import os, subprocess, sys
print(subprocess.check_output([sys.executable, "-c", "import sys; print(sys.argv)", "a"], text=True))
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(p.communicate(b"through\n"))
sys.stdout.flush()
subprocess.run(["echo", "straight to our stdout"], check=True)
print(os.popen("echo popen").read(), os.system("exit 3") >> 8)
try:
    subprocess.run(["sleep", "100"], timeout=0.05)
except subprocess.TimeoutExpired:
    print("timeout")
try:
    subprocess.run(["no-such-program"])
except FileNotFoundError as e:
    print(e)
pid = os.fork()
if pid == 0:
    os._exit(6)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
