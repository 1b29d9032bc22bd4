import io, sys
sys.stdout = io.StringIO()
print("captured")
sys.stderr.write(sys.stdout.getvalue())
