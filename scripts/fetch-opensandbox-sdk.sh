#!/bin/sh
# Puts the pinned JavaScript SDK of OpenSandbox, as it is published, and what it needs into
# .deps/opensandbox-sdk: a client that the tests drive the sandboxes with. Nothing else uses it.
# Quick when it is there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.deps/opensandbox-sdk
pins="@alibaba-group/opensandbox 0.1.11 xDJzs+5yYAPrje+z3GKUmXezpVq3kO/NyP8BM9JwzCbfuSr5vQyHJI3/Pu4FBGdb/xQnxMcWFlsKqC4/80OeiQ==
openapi-fetch 0.14.1 l7RarRHxlEZYjMLd/PR0slfMVse2/vvIAGm75/F7J6MlQ8/b9uUQmUF2kCPrQhJqMXSxmYWObVgeYXbFYzZR+A==
undici 7.28.0 cRZYrTDwWznlnRiPjggAGxZXanty6M8RV1ff8Wm4LWXBp7/IG8v5DnOm74DtUBp9OONpK75YlPnIjQqX0dBDtA=="

if [ "$(cat "$target/.forkbox-version" 2>/dev/null || true)" = "$pins" ]; then
  exit 0
fi

rm -rf "$target.new"
mkdir -p "$target.new/node_modules"
echo "$pins" | while read -r package version sha512; do
  "$root/scripts/npm-package.sh" "$package" "$version" "$sha512" "$target.new/node_modules/$package"
done
echo "$pins" >"$target.new/.forkbox-version"
rm -rf "$target"
mv "$target.new" "$target"
