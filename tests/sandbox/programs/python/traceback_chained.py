def first():
    raise KeyError("k")


try:
    try:
        first()
    except KeyError as e:
        raise ValueError("two\nlines") from e
except ValueError:
    [][1]
