#!/bin/sh
# make bench [ARGS="runs-a-round [word-in-row-names]"]: the table of docs/performance.md for this machine.
set -eu
cd "$(dirname "$0")/.."
echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
echo
exec build/bench/forkbox_bench "$@"
