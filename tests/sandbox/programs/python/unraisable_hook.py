import sys


class Bad:
    def __del__(self):
        raise ValueError("x")


sys.unraisablehook = lambda u: print("hooked", u.exc_value)
Bad()
