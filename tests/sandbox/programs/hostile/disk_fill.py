import errno, os
for place in ("/box/work", "/tmp", "/dev/shm"):
    name = place + "/fill"
    written = 0
    try:
        with open(name, "wb", 0) as f:
            while True:
                written += f.write(b"x" * 65536)
    except OSError as e:
        print(errno.errorcode[e.errno], written <= 8 << 20, os.path.getsize(name) == written)
    os.unlink(name)
