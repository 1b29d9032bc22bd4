import multiprocessing as mp


def square(x):
    return x * x


if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as pool:
        print(pool.map(square, range(5)))
    q = mp.Queue()
    p = mp.Process(target=q.put, args=("from the child",))
    p.start()
    print(q.get())
    p.join()
    print(p.exitcode, mp.Value("i", 7).value)
