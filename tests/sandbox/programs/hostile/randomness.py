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
try:
    import numpy
    values["numpy legacy"] = float(numpy.random.rand())
    values["numpy shuffle"] = numpy.random.permutation(1000)[:20].tolist()
    values["numpy default_rng"] = float(numpy.random.default_rng().random())
    values["numpy RandomState"] = float(numpy.random.RandomState().rand())
except ImportError:
    pass
for name, value in values.items():
    print(name, "=", value)
