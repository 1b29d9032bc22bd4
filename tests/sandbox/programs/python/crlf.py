print("crlf")
print("""a
b""")
