def gen():
    try:
        yield 1
    finally:
        print("generator closed")


g = gen()
next(g)
import weakref


class C:
    pass


c = C()
weakref.finalize(c, print, "finalized")
