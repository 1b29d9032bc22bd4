# argv: a secret that must not be found anywhere; then paths of the host.
import glob, os, sys
secret = sys.argv[1].encode()
found = []


def try_read(path, limit=1 << 20):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(fd, limit)
    except OSError:
        return None
    finally:
        os.close(fd)


me = str(os.getpid())
for pid in os.listdir("/proc"):
    if not pid.isdigit():
        continue
    for name in ("environ", "mem", "maps", "auxv", "stack", "syscall", "pagemap", "io"):
        data = try_read(f"/proc/{pid}/{name}")
        if data and secret in data:
            found.append(f"secret in /proc/{pid}/{name}")
        if data and pid != me:
            found.append(f"read /proc/{pid}/{name}")
    for name in ("root", "cwd", "exe"):
        try:
            os.readlink(f"/proc/{pid}/{name}")
            if pid != me:
                found.append(f"link /proc/{pid}/{name}")
        except OSError:
            pass
    try:
        if pid != me and os.listdir(f"/proc/{pid}/fd"):
            found.append(f"fds of {pid}")
    except OSError:
        pass
print("processes", sorted(int(p) for p in os.listdir("/proc") if p.isdigit() and p != me))
for path in sys.argv[2:] + ["/etc/shadow", "/etc/ssh", "/etc/sudoers", "/root", "/home", "/var", "/srv", "/boot", "/lost+found",
                            "/sys", "/sys/fs/cgroup", "/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/proc/sysrq-trigger",
                            "/proc/vmallocinfo", "/proc/slabinfo", "/proc/timer_list",
                            "/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/kvm", "/dev/loop0",
                            "/dev/tty", "/dev/ptmx", "/dev/net/tun", "/dev/userfaultfd", "/run/docker.sock", "/var/run/docker.sock"]:
    try:
        if os.path.isdir(path):
            if os.listdir(path):
                found.append("list " + path)
        elif try_read(path):
            found.append("read " + path)
    except OSError:
        pass
for path in ("/proc/keys", "/proc/key-users", "/proc/cmdline"):
    if try_read(path):
        found.append("read " + path)
addresses = {line.split()[0] for line in (try_read("/proc/kallsyms", 100000) or b"").splitlines()}
if len(addresses) > 1:
    found.append("kernel addresses")
for variable, value in os.environ.items():
    if sys.argv[1] in value:
        found.append("secret in " + variable)
print("\n".join(found) or "nothing found")
