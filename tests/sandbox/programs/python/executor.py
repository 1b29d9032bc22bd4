import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda x: x * x, range(10))))
pool = concurrent.futures.ThreadPoolExecutor(1)
pool.submit(print, "still runs at exit")
