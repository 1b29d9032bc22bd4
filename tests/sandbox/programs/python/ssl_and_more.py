import sqlite3, ssl, hashlib, ctypes, bz2, lzma, decimal
print(ssl.OPENSSL_VERSION.split()[0], len(ssl.RAND_bytes(8)), hashlib.sha256(b"x").hexdigest())
db = sqlite3.connect("t.db")
db.execute("create table t(a)")
db.execute("insert into t values(1)")
print(db.execute("select sum(a) from t").fetchall())
print(ctypes.CDLL(None).abs(-3), lzma.decompress(lzma.compress(b"z")), decimal.Decimal(1) / 3)
