import threading


def work():
    1 / 0


t = threading.Thread(target=work, name="worker")
t.start()
t.join()
print(threading.main_thread().name, threading.active_count(), threading.current_thread() is threading.main_thread())
