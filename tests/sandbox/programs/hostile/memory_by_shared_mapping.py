import mmap
hoard = []
while True:
    m = mmap.mmap(-1, 1 << 20)
    m.write(b"x" * (1 << 20))
    hoard.append(m)
