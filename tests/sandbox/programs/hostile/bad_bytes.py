import os
os.write(1, bytes(range(256)) + b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf" + b"end")
os.write(2, b"\0" * 10 + b"\xff" * 10)
