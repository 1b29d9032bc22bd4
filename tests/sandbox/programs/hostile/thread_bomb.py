import threading, time
made = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        made += 1
except RuntimeError as e:
    print("stopped", made < 100)
time.sleep(1000)
