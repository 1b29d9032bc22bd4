import threading, time


def work(n):
    time.sleep(0.3 * (n + 1))
    print("thread", n)


for n in range(3):
    threading.Thread(target=work, args=(n,)).start()
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("main done")
