import numpy as np
a = np.arange(6).reshape(2, 3)
print(a @ a.T, a.mean(), np.linalg.inv(np.eye(3) * 2), np.fft.fft([1, 0, 0, 0]))
rng = np.random.default_rng(7)
print(rng.integers(0, 100, 5), np.random.RandomState(3).rand(2))
np.random.seed(5)
print(np.random.rand())
print(np.array([1, 2]) / np.array([0, 1]))
