# Everything of the network that a program can read, except the machine's and the kernel's own addresses.
import os
for name in sorted(os.listdir("/proc/net")):
    path = "/proc/net/" + name
    if os.path.isfile(path) and name not in ("softnet_stat", "protocols", "ptype", "stat", "netlink"):
        try:
            text = open(path).read()
        except OSError:
            continue
        if name == "sockstat":
            text = text.split("TCP:")[0] + text.split(" alloc ")[0].split("TCP:")[1]
        print("==", name)
        print(text)
