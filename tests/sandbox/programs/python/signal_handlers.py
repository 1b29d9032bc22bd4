import signal
for name in ("SIGINT", "SIGTERM", "SIGPIPE", "SIGCHLD", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGXFSZ", "SIGTTOU"):
    print(name, signal.getsignal(getattr(signal, name)))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))


def on_alarm(number, frame):
    print("alarm", number, frame.f_code.co_name)


signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, 1)  # long after pause() has begun, however slow this is
signal.pause()
