import sys


class Noisy:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print("del", self.name, sys is not None, helper is not None)


def helper():
    pass


_private = Noisy("private")
public = Noisy("public")
cycle = Noisy("cycle")
cycle.me = cycle
container = [Noisy("in a list")]
