# argv: port of a service on the host's loopback, path of a Unix socket of the host, abstract name.
import ctypes, errno, os, socket, struct, sys
port, path, abstract = int(sys.argv[1]), sys.argv[2], sys.argv[3]
reached = []


def attempt(what, family, kind, address, protocol=0):
    try:
        s = socket.socket(family, kind, protocol)
        s.settimeout(2)
        s.connect(address)
        if kind == socket.SOCK_DGRAM and family != socket.AF_UNIX:
            s.send(b"x")
            s.recv(1)
        reached.append(what)
    except OSError as e:
        pass


for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "169.254.169.254", "10.0.0.1", "192.168.0.1", "172.17.0.1", "8.8.8.8", "100.100.100.200"):
    for p in {port, 80, 53}:
        attempt(f"{host}:{p}", socket.AF_INET, socket.SOCK_STREAM, (host, p))
    attempt(f"udp {host}", socket.AF_INET, socket.SOCK_DGRAM, (host, 53))
for host in ("::1", "::ffff:127.0.0.1", "fe80::1", "fd00:ec2::254", "2001:4860:4860::8888"):
    attempt(f"[{host}]", socket.AF_INET6, socket.SOCK_STREAM, (host, port))
attempt("unix " + path, socket.AF_UNIX, socket.SOCK_STREAM, path)
attempt("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract)
for host_path in ("/run/systemd/private", "/run/dbus/system_bus_socket", "/var/run/docker.sock", "/dev/log"):
    attempt(host_path, socket.AF_UNIX, socket.SOCK_STREAM, host_path)
made = []
for family in range(0, 60):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind)
            made.append((family, kind))
        except OSError:
            pass
print("families", sorted({family for family, kind in made}), "raw", [m for m in made if m[1] == socket.SOCK_RAW and m[0] != 1])
# The same by socketpair(), which could load a module as well.
libc = ctypes.CDLL(None, use_errno=True)
pairs = []
for family in range(0, 60):
    ends = (ctypes.c_int * 2)()
    if libc.socketpair(family, 1, 0, ends) == 0:
        pairs.append(family)
    elif family not in (1, 2, 10) and ctypes.get_errno() != errno.EAFNOSUPPORT:
        pairs.append((family, errno.errorcode[ctypes.get_errno()]))
print("pairs", pairs)
print("interfaces", [name for _, name in socket.if_nameindex()] if False else sorted(l.split(":")[0].strip() for l in open("/proc/net/dev") if ":" in l))
print("reached", reached)
