import warnings
warnings.warn("careful")
warnings.warn("old", DeprecationWarning)
"\d"
def f():
    assert (1, "always true")
