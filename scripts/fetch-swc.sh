#!/bin/sh
# Puts the pinned swc (the TypeScript transpiler, as WebAssembly) into .deps/swc. Quick when it is
# already there.
#
# npm only carries the file; what we accept is the tarball whose SHA-512 stands below, so the
# registry or mirror in use need not be trusted. Needs what scripts/fetch-node.sh needs, and runs
# after it.
#
#   scripts/fetch-swc.sh [TARGET_DIR]
set -eu

version=1.16.18
sha512=dDdqcIo2nb3fqLGlwzBRKryDKxBUDpQ5pWZO3FYqbakMzPRcn5Fubeoa9c/l4/z72ecy7C1r/8D9gOX9PRSouQ==

root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$root/.deps/swc}
stamp=$target/.forkbox-version

if [ "$(cat "$stamp" 2>/dev/null || true)" = "$version $sha512" ]; then
  exit 0
fi

if ! command -v npm >/dev/null 2>&1; then
  echo "fetch-swc: npm is missing (as root: apt-get install --no-install-recommends npm)" >&2
  exit 1
fi

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/swc.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# In a directory of its own: no package.json, .npmrc or script of a surrounding project applies.
(cd "$work" && npm pack --silent --ignore-scripts "@swc/wasm@$version" >/dev/null)
tarball=$work/swc-wasm-$version.tgz

actual=$(openssl dgst -sha512 -binary "$tarball" | base64 -w0)
if [ "$actual" != "$sha512" ]; then
  echo "fetch-swc: @swc/wasm@$version is not the pinned file: sha512 $actual" >&2
  exit 1
fi

mkdir "$work/swc"
tar -xzf "$tarball" -C "$work/swc" --strip-components=1 --no-same-owner \
  package/wasm.js package/wasm_bg.wasm package/package.json package/LICENSE
chmod -R u=rwX,go=rX "$work/swc"
echo "$version $sha512" >"$work/swc/.forkbox-version"

# The old one goes away only now, whole; nobody sees half an installation.
rm -rf "$target"
mv "$work/swc" "$target"
