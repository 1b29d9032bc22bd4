import atexit, sys


@atexit.register
def first():
    print("registered first")


@atexit.register
def second():
    print("registered second")
    atexit.register(print, "late")


@atexit.register
def broken():
    raise ValueError("in atexit")


print("main", __name__)
sys.exit(2)
