#!/bin/sh
# make bench [ARGS="runs-a-round [word-in-row-names]"]: the tables of docs/performance.md for this
# machine. "vm" as the word: those of virtual machines alone; any other leaves them out.
set -eu
cd "$(dirname "$0")/.."
echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
echo
status=0
if [ "${2:-}" != vm ]; then
  build/bench/forkbox_bench "$@" || status=1
fi
case "${2:-}" in
  "" | vm)
    printf '\nVirtual machines\n\n'
    build/bench/forkbox_vm_bench "${1:-40}" --json || status=1
    ;;
esac
exit $status
