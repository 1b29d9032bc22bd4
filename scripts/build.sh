#!/bin/sh
# Configures (the first time, or when the options changed) and builds.
#
#   scripts/build.sh DIR [cmake option …] [-- target …]
set -eu
cd "$(dirname "$0")/.."
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"

dir=$1
shift
options="-DCMAKE_BUILD_TYPE=Release"
if command -v ccache >/dev/null; then
  options="$options -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache"
  # Paths below here are hashed as relative ones, so that one clone profits from another's build.
  export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
fi
# Toolchains that came or went since: what is made of them follows.
for toolchain in /usr/lib/go-1.21/bin/go /usr/bin/javac; do
  if [ -x "$toolchain" ]; then
    options="$options -DFORKBOX_WITH_$(basename "$toolchain" | tr a-z A-Z)=$toolchain"
  fi
done
while [ $# -gt 0 ]; do
  if [ "$1" = -- ]; then shift; break; fi
  options="$options $1"
  shift
done

if [ ! -f "$dir/build.ninja" ] || [ "$(cat "$dir/.options" 2>/dev/null)" != "$options" ]; then
  # shellcheck disable=SC2086
  mkdir -p "$dir"
  cmake -S . -B "$dir" -G Ninja $options >"$dir/configure.log" 2>&1 || {
    cat "$dir/configure.log" >&2
    exit 1
  }
  echo "$options" >"$dir/.options"
fi
exec ninja -C "$dir" "$@"
