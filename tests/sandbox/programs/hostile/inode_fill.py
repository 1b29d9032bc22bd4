import errno, os
made = 0
try:
    while True:
        os.close(os.open(f"f{made}", os.O_CREAT | os.O_EXCL))
        made += 1
except OSError as e:
    print(errno.errorcode[e.errno], made <= 4112)
try:
    os.mkdir("/tmp/d")
except OSError as e:
    print(errno.errorcode[e.errno])
