with open("/dev/shm/f", "wb", 0) as f:
    while True:
        f.write(b"x" * (1 << 20))
