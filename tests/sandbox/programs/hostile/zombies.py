import os
made = 0
try:
    while made < 10000:
        if os.fork() == 0:
            os._exit(0)
        made += 1
except OSError as e:
    print("stopped", made < 100)
