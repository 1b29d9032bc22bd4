import os, random, secrets, tempfile, uuid
values = {
    "os.urandom": os.urandom(8).hex(),
    "random": random.random(),
    "random.Random": random.Random().random(),
    "SystemRandom": random.SystemRandom().random(),
    "uuid1": str(uuid.uuid1()),
    "uuid4": str(uuid.uuid4()),
    "secrets": secrets.token_hex(8),
    "mktemp": tempfile.mktemp(),
    "mkdtemp": tempfile.mkdtemp(),
}
try:
    import ssl
    values["openssl"] = ssl.RAND_bytes(8).hex()
except ImportError:
    pass
import multiprocessing
values["authkey"] = multiprocessing.current_process().authkey.hex()
for name, value in values.items():
    print(name, "=", value)
