import gc, sys, threading, faulthandler
print(gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit(), sys.getswitchinterval(), faulthandler.is_enabled())
print([t.name for t in threading.enumerate()], sys.gettrace(), sys.getprofile(), sys.is_finalizing(), sys.breakpointhook.__name__)
print(sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__)
print(gc.get_count()[2] >= 0, "ps1" in dir(sys), sys.stdlib_module_names is not None)
