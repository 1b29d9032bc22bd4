import multiprocessing as mp


class Thing:
    def __init__(self, x):
        self.x = x


def double(thing):
    return Thing(thing.x * 2)


if __name__ == "__main__":
    with mp.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [Thing(4)])[0].x)
