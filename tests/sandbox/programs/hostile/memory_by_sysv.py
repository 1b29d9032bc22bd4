import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
while True:
    segment = libc.shmget(0, 4 << 20, 0o1600)
    if segment < 0:
        raise SystemExit("no more segments")
    ctypes.memset(libc.shmat(segment, None, 0), 1, 4 << 20)
