import resource
raised = []
for name in dir(resource):
    if not name.startswith("RLIMIT_"):
        continue
    which = getattr(resource, name)
    soft, hard = resource.getrlimit(which)
    if hard == resource.RLIM_INFINITY:
        continue
    for limit in ((soft, hard + 1), (hard, hard * 2 + 1), (resource.RLIM_INFINITY,) * 2):
        try:
            resource.setrlimit(which, limit)
            raised.append(name)
        except (ValueError, OSError):
            pass
print("raised", raised)
print("core", resource.getrlimit(resource.RLIMIT_CORE)[1] <= 1, "nofile", resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 1024,
      "nproc", resource.getrlimit(resource.RLIMIT_NPROC)[1] <= 64, "memlock", resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] <= 1 << 20)
import os
for what, act in (("nice", lambda: os.nice(-5)), ("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))):
    try:
        act()
        print(what, "gained")
    except OSError as e:
        print(what, "refused")
