import os, stat
wrote = []
for path in ("/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward",
             "/proc/sys/kernel/ns_last_pid", "/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/proc/1/oom_score_adj",
             "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups", "/proc/self/loginuid", "/proc/self/mem",
             "/proc/self/attr/current", "/proc/self/timerslack_ns", "/proc/irq/default_smp_affinity", "/proc/mtrr",
             "/sys/power/state", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent",
             "/etc/passwd", "/etc/hosts", "/etc/resolv.conf", "/etc/ld.so.preload", "/usr/bin/python3", "/bin/sh", "/opt/forkbox/python/template.py",
             "/new", "/etc/new", "/dev/new", "/opt/new", "/run/new", "/mnt/new", "/usr/new", "/usr/local/new", "/box/new", "/box/tmp/../new2"):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC):
        try:
            os.close(os.open(path, flags, 0o666))
            wrote.append(path)
        except OSError:
            pass
for what, act in (("mknod char", lambda: os.mknod("c", stat.S_IFCHR | 0o666, os.makedev(1, 1))),
                  ("mknod block", lambda: os.mknod("b", stat.S_IFBLK | 0o666, os.makedev(8, 0))),
                  ("chmod root", lambda: os.chmod("/", 0o777)), ("chmod box", lambda: os.chmod("/box", 0o777)),
                  ("chown", lambda: os.chown("main.py", 0, 0)), ("unlink", lambda: os.unlink("/etc/hosts")),
                  ("rename", lambda: os.rename("/box/work", "/box/other")), ("rmdir", lambda: os.rmdir("/mnt")),
                  ("symlink", lambda: os.symlink("/x", "/opt/x")), ("chroot", lambda: os.chroot("/tmp")),
                  ("hard link", lambda: os.link("/usr/bin/passwd", "/box/work/passwd")),
                  ("device", lambda: os.chmod("/dev/null", 0)), ("utime", lambda: os.utime("/etc/hosts")),
                  ("xattr", lambda: os.setxattr("main.py", "trusted.x", b"1")),
                  ("xattr2", lambda: os.setxattr("main.py", "security.capability", b"\1\0\0\2" + b"\xff" * 16))):
    try:
        act()
        wrote.append(what)
    except OSError:
        pass
print(wrote)
