#!/bin/sh
# Puts the pinned TypeScript compiler and esbuild into .deps/typescript-yardsticks: what `make bench`
# compares the engine's TypeScript with. Nothing else uses them. Quick when they are there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.deps/typescript-yardsticks
pins="typescript 5.3.3 pXWcraxM0uxAS+tN0AG/BF2TyqmHO014Z070UsJ+pFvYuRSq8KH8DmWpnbXe0pEPDHXZV3FcAbJkijJ5oNEnWw==
@esbuild/linux-x64 0.28.2 4xTZr1FUmSoQW4XIWmit3tzQrUTZM+N3P0XV8xROKYF50XfI7xeO90+1bZvNwxIufQ9hDQVRJH5YhgPVF8A/HQ=="

if [ "$(cat "$target/.forkbox-version" 2>/dev/null || true)" = "$pins" ]; then
  exit 0
fi

rm -rf "$target.new"
mkdir -p "$target.new"
echo "$pins" | while read -r package version sha512; do
  name=${package#@}
  "$root/scripts/npm-package.sh" "$package" "$version" "$sha512" "$target.new/${name%%/*}"
done
echo "$pins" >"$target.new/.forkbox-version"
rm -rf "$target"
mv "$target.new" "$target"
