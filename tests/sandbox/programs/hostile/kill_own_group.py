import os, signal
os.kill(os.getppid(), signal.SIGKILL)  # the parent is nobody here: 0, our own group
