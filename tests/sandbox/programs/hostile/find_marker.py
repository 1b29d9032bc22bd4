# Every file that can be reached, by every way in.
import os, sys
marker = sys.argv[1].encode()
tops = ["/box", "/tmp", "/dev/shm", "/run", "/mnt", "/opt", "/etc"]
tops += [f"/proc/{p}/root/box" for p in os.listdir("/proc") if p.isdigit()]
tops += [f"/proc/{p}/cwd" for p in os.listdir("/proc") if p.isdigit()]
hits = []
for top in tops:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if path == os.path.abspath(__file__):
                continue
            try:
                with open(path, "rb") as f:
                    if marker in f.read(1 << 22):
                        hits.append(path)
            except OSError:
                pass
print(hits)
