#!/bin/bash
# Every test: all labels in build/, then those labelled `unit` once more under ASan and UBSan in
# build-asan/ (what enters a sandbox is built plain: ASan's shadow does not survive our limits).
# The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"

passed=0
failed=0
# Runs ctest with the arguments after DIR and adds to the totals.
run_ctest() {
  local dir=$1 log
  shift
  log=$(mktemp)
  ctest --test-dir "$dir" --output-on-failure --no-tests=ignore "$@" | tee "$log"
  # "97% tests passed, 1 tests failed out of 30"
  read -r bad all < <(sed -n 's/.*passed, \([0-9]*\) tests failed out of \([0-9]*\).*/\1 \2/p' "$log")
  rm -f "$log"
  failed=$((failed + ${bad:-0}))
  passed=$((passed + ${all:-0} - ${bad:-0}))
}

scripts/setup.sh --servers --languages --vm || exit 1
scripts/build.sh build || exit 1
# The tests of virtual machines boot it. Quick where .deps/vm-base has Debian's part of it.
# Without (no way to Debian, perhaps) only those fail, and this once.
if ! build/cli/forkbox vm build; then
  echo "test: forkbox vm build failed" >&2
  failed=$((failed + 1))
fi
run_ctest build -L '^unit$' -j "$(nproc)"
# Two at a time: most of them wait for deadlines, servers and single machines.
run_ctest build -LE '^unit$' -j 2

asan_options=(-DFORKBOX_SANITIZE=ON -DCMAKE_CXX_FLAGS=-g1)
if [ "${FORKBOX_SKIP_SANITIZE:-}" = 1 ]; then
  echo "test: FORKBOX_SKIP_SANITIZE=1: the sanitizer run is left out"
else
  # A test has the name of its executable, so ctest knows what to build.
  scripts/build.sh build-asan "${asan_options[@]}" -- build.ninja
  mapfile -t targets < <(ctest --test-dir build-asan -N -L '^unit$' |
                         sed -n 's/^ *Test *#[0-9]*: //p')
  if scripts/build.sh build-asan "${asan_options[@]}" -- "${targets[@]}"; then
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
    run_ctest build-asan -L '^unit$' -j "$(nproc)"
  else
    echo "test: the sanitizer build failed" >&2
    failed=$((failed + 1))
  fi
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
