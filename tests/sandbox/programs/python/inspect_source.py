import inspect, linecache


def function(a, b=2):
    """Doc."""
    return a + b


print(inspect.getsource(function), inspect.signature(function), inspect.getfile(function))
print(linecache.getline(__file__, 1))
print(inspect.getmodule(function).__name__)
