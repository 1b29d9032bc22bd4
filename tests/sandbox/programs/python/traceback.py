class Broken:
    def method(self, value):
        return helper(value) / 0


def helper(x):
    return x + 1


print("before")
Broken().method(
    3,
)
