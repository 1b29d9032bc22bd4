import random
print("random =", random.random())
print("random.shuffled =", random.sample(range(10**9), 3))
