import os, pathlib, shutil, tempfile
print(os.getcwd(), pathlib.Path("neighbour.py").exists(), oct(os.umask(0o22)))
with tempfile.TemporaryDirectory() as d:
    p = pathlib.Path(d, "x")
    p.write_text("é")
    os.chmod(p, 0o600)
    print(oct(p.stat().st_mode), shutil.copy(p, d + "/y").endswith("/y"))
os.symlink("neighbour.py", "link")
print(os.readlink("link"), sorted(os.listdir("package")))
print(tempfile.gettempdir(), os.path.expanduser("~") == os.environ["HOME"])
