import copy, dataclasses, pickle, enum


@dataclasses.dataclass
class P:
    x: int
    y: "list[int]"


class Color(enum.Enum):
    RED = 1


print(pickle.loads(pickle.dumps(P(1, [2]))), pickle.loads(pickle.dumps(Color.RED)), copy.deepcopy(P(3, [])))
print(P.__module__, Color.RED)
import typing
print(typing.get_type_hints(P))
