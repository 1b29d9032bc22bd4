import inspect, sys, traceback


def depth():
    return len(inspect.stack())


print(depth(), sys._getframe().f_back, sys._getframe().f_code.co_name)
traceback.print_stack()
