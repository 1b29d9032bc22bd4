import random
random.seed(1)
print(random.random(), random.sample(range(100), 5), random.Random(2).gauss(0, 1))
