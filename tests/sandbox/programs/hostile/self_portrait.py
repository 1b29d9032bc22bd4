# All that a job finds on its start. Two jobs must find the same.
import os
seen = []
for top in ("/box", "/tmp", "/dev", "/run", "/mnt", "/etc"):
    for folder, folders, names in sorted(os.walk(top)):
        for name in sorted(folders + names):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            seen.append((path, oct(info.st_mode), info.st_size if os.path.isfile(path) else 0))
print("\n".join(map(str, seen)))
print(os.getcwd(), sorted(os.environ.items()), os.umask(0))
print(sorted(int(p) for p in os.listdir("/proc") if p.isdigit()), os.getpid(), os.getppid(), os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid())
print(sorted(os.listdir("/proc/self/fd"))[:3], os.uname().nodename, sorted(os.sched_getaffinity(0)), os.nice(0))
print(open("/proc/self/limits").read().split("\nMax processes")[0].count("\n"), len(open("/proc/self/mounts").readlines()))
print([line for line in open("/proc/sysvipc/shm")][1:], [line for line in open("/proc/sysvipc/msg")][1:], [line for line in open("/proc/net/unix")][1:], len(open("/proc/net/tcp").readlines()))
status = open("/proc/self/status").read()
print([line for line in status.splitlines() if line.split(":")[0] in ("SigBlk", "SigIgn", "Cpus_allowed", "Threads", "Groups", "CapEff", "NoNewPrivs", "Seccomp", "Umask")])
