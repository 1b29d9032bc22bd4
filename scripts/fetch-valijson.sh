#!/bin/sh
# Unpacks Debian's valijson headers into .deps/valijson. The package is header-only, but depends on
# every JSON library it has an adapter for (Qt and Poco among them), so it is not installed.
# Quick when it is there already. Needs `apt-get update` to have run once.
set -eu

series=1.0
root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.deps/valijson
header=usr/include/valijson/validator.hpp

if [ -f "$target/.series-$series" ] && [ -f "$target/$header" ]; then
  exit 0
fi

version=$(apt-cache madison libvalijson-dev | awk -v series="$series" -F ' *[|] *' \
  'index($2, series "+") == 1 || index($2, series "-") == 1 || index($2, series ".") == 1 {print $2; exit}')
if [ -z "$version" ]; then
  echo "fetch-valijson: apt knows no libvalijson-dev $series; run 'apt-get update' first" >&2
  exit 1
fi

mkdir -p "$root/.deps"
work=$(mktemp -d "$root/.deps/valijson.XXXXXX")
trap 'rm -rf "$work"' EXIT
# As root apt drops to the user _apt, which may not write here; it then says so and goes on.
(cd "$work" && apt-get download -q -o APT::Sandbox::User=root "libvalijson-dev=$version" >/dev/null)
dpkg -x "$work"/libvalijson-dev_*.deb "$work/tree"
if [ ! -f "$work/tree/$header" ]; then
  echo "fetch-valijson: libvalijson-dev $version holds no $header" >&2
  exit 1
fi
touch "$work/tree/.series-$series"
chmod 755 "$work/tree"
rm -rf "$target"
mv "$work/tree" "$target"
