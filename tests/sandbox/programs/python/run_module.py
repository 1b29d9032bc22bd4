import runpy, subprocess, sys
print(runpy.run_path("neighbour.py")["name"]())
print(subprocess.run([sys.executable, "-m", "package.inner"], capture_output=True, text=True).stdout)
