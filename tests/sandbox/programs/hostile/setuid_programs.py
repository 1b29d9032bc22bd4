# Every set-uid and set-gid program there is, and a few known by name: none makes us anybody else.
import os, shutil, stat, subprocess
me = (os.getresuid(), os.getresgid(), os.getgroups())
print("one id", len(set(me[0] + me[1])) == 1, me[0][0] != 0, me[2])
privileged = []
for top in ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/local"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                info = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode) and info.st_mode & 0o6000:
                privileged.append(path)
gains = []
# As root they would all say it of themselves here.
report = "import os; print('ids', os.getresuid(), os.getresgid())"
for path in privileged + [p for p in map(shutil.which, ("su", "sudo", "ping", "newgrp", "mount", "passwd", "pkexec")) if p]:
    for arguments in (["-c", "id -u"], ["root", "-c", "id -u"], ["-n", "id", "-u"], ["-c", "1", "127.0.0.1"]):
        try:
            done = subprocess.run([path] + arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=2, text=True, errors="replace")
            if done.stdout.strip() == "0":
                gains.append((path, arguments))
        except (OSError, subprocess.TimeoutExpired):
            pass
own = "/box/work/own"
shutil.copy("/usr/bin/id", own)
os.chmod(own, 0o6755)
print("own copy", subprocess.check_output([own, "-u"], text=True).strip() == str(me[0][0]))
print("nosuid", all(os.statvfs(p).f_flag & os.ST_NOSUID for p in ("/", "/usr", "/box", "/tmp", "/opt/forkbox", "/dev/shm")))
status = dict(line.split(":\t") for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print({name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, status["NoNewPrivs"], status["Seccomp"])
for what, act in (("setuid", lambda: os.setuid(0)), ("setresuid", lambda: os.setresuid(0, 0, 0)), ("setgid", lambda: os.setgid(0)),
                  ("setgroups", lambda: os.setgroups([0])), ("other", lambda: os.setuid(me[0][0] + 1))):
    try:
        act()
        gains.append(what)
    except OSError:
        pass
print("gains", gains)
