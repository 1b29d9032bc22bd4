#!/bin/sh
# Unpacks Debian's promtool into .deps/promtool, for the test of our alert rules. Its package would
# install and start a whole Prometheus, so it is not installed. Quick when it is there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.deps/promtool
if [ -x "$target/promtool" ]; then exit 0; fi

mkdir -p "$root/.deps"
work=$(mktemp -d "$root/.deps/promtool.XXXXXX")
trap 'rm -rf "$work"' EXIT
# As root apt drops to the user _apt, which may not write here; it then says so and goes on.
download() { (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root prometheus); }
download 2>/dev/null || { apt-get update -qq && download; }
dpkg --fsys-tarfile "$work"/prometheus_*.deb | tar -xf - -C "$work" ./usr/bin/promtool
mkdir -p "$target"
mv "$work/usr/bin/promtool" "$target/promtool"
