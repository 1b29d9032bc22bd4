import neighbour
from package.inner import value
import package.inner as again
print(neighbour.name(), value, again.__file__, neighbour.__file__)
import importlib
print(importlib.reload(neighbour) is neighbour)
