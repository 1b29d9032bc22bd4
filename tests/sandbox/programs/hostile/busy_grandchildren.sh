# Each process is short; only their sum is much.
while :; do /bin/true; done
