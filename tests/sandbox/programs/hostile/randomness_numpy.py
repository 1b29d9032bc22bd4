import numpy
print("numpy legacy =", numpy.random.rand())
print("numpy normal =", numpy.random.randn())
print("numpy default_rng =", numpy.random.default_rng().random())
