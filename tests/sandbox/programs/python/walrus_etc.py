from __future__ import annotations
import builtins
match [1, 2, 3]:
    case [a, *rest]:
        print(a, rest)
if (n := 3) > 2:
    print(f"{n=}", eval("n + 1"))
exec("m = 4")
print(m, builtins.sum([1, 2]), globals()["m"])
print([x for x in range(3)], (lambda: n)())


async def agen():
    yield 1


print(type(agen()).__name__)
