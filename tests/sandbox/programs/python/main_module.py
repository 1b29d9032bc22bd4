import __main__, sys
print(__name__, __file__, __package__, __spec__, __doc__, __cached__ if "__cached__" in globals() else "none")
print(sorted(globals()))
print(__main__.__dict__ is globals(), sys.modules["__main__"] is __main__)
print(type(__loader__).__name__, __loader__.name, __loader__.path)
print(type(__builtins__).__name__, __annotations__)
x: int = 3
print(__annotations__)
if __name__ == "__main__":
    print("as main")
