#!/bin/sh
# Puts the pinned swc (the TypeScript transpiler, as WebAssembly) into .deps/swc. Quick when it is
# already there.
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

rm -rf "$target.new"
"$root/scripts/npm-package.sh" @swc/wasm "$version" "$sha512" "$target.new" \
  wasm.js wasm_bg.wasm package.json LICENSE
echo "$version $sha512" >"$target.new/.forkbox-version"

# The old one goes away only now, whole; nobody sees half an installation.
rm -rf "$target"
mv "$target.new" "$target"
