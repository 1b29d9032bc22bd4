import ctypes, os, socket, struct, sys
how = sys.argv[1]
if how == "no_route":
    for host in ("8.8.8.8", "10.1.2.3"):
        try:
            socket.create_connection((host, 53))
        except OSError as e:
            print(e.errno)
elif how == "no_route6":
    try:
        socket.create_connection(("2001:4860:4860::8888", 53))
    except OSError as e:
        print(e.errno)
elif how == "flow_label":
    # struct in6_flowlabel_req: a lease that lingers after its socket (ipv6(7), linux/in6.h).
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    request = socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!I", 0x12345) + struct.pack("=BBHHHI", 0, 255, 1, 100, 100, 0)
    try:
        s.setsockopt(socket.IPPROTO_IPV6, 32, request)
        print("leased")
    except OSError as e:
        print(e)
elif how == "packet":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"x", ("127.0.0.1", 9))
elif how == "time_wait":
    server = socket.create_server(("127.0.0.1", 4444))
    a = socket.create_connection(("127.0.0.1", 4444))
    b, _ = server.accept()
    a.close()
    b.close()
elif how == "unix":
    s = socket.socket(socket.AF_UNIX)
    s.bind("\0left")
    a, b = socket.socketpair()
    # In flight: a socket that holds itself.
    socket.send_fds(a, [b"x"], [a.fileno(), b.fileno()])
