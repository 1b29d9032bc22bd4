print(input("prompt> "))
import sys
print(sys.stdin.readline(), end="")
for line in sys.stdin:
    print(repr(line))
try:
    input()
except EOFError as e:
    print("EOF", e)
