import socket, threading
s = socket.create_server(("127.0.0.1", 0))


def serve():
    c, _ = s.accept()
    c.sendall(b"hi")
    c.close()


t = threading.Thread(target=serve)
t.start()
print(socket.create_connection(s.getsockname()).recv(10))
t.join()
a, b = socket.socketpair()
a.send(b"x")
print(b.recv(1), socket.gethostbyname("localhost"))
u = socket.socket(socket.AF_UNIX)
u.bind("\0abstract")
u.listen()
s6 = socket.create_server(("::1", 0), family=socket.AF_INET6)
print(s6.getsockname()[0])
try:
    socket.getaddrinfo("example.invalid", 80)
except socket.gaierror:
    print("no name")
