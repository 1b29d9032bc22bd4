#!/bin/sh
# Puts the pinned TypeScript compiler and esbuild into .deps/typescript-yardsticks: what `make bench`
# compares the engine's TypeScript with. Nothing else uses them. Quick when they are there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.deps/typescript-yardsticks
pins="typescript@5.3.3 typescript-5.3.3.tgz pXWcraxM0uxAS+tN0AG/BF2TyqmHO014Z070UsJ+pFvYuRSq8KH8DmWpnbXe0pEPDHXZV3FcAbJkijJ5oNEnWw==
@esbuild/linux-x64@0.28.2 esbuild-linux-x64-0.28.2.tgz 4xTZr1FUmSoQW4XIWmit3tzQrUTZM+N3P0XV8xROKYF50XfI7xeO90+1bZvNwxIufQ9hDQVRJH5YhgPVF8A/HQ=="

if [ "$(cat "$target/.forkbox-version" 2>/dev/null || true)" = "$pins" ]; then
  exit 0
fi

mkdir -p "$root/.deps"
work=$(mktemp -d "$root/.deps/yardsticks.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

mkdir "$work/all"
echo "$pins" | while read -r package file sha512; do
  # In a directory of its own: no package.json or .npmrc of a surrounding project applies.
  (cd "$work" && npm pack --silent --ignore-scripts "$package" >/dev/null)
  actual=$(openssl dgst -sha512 -binary "$work/$file" | base64 -w0)
  if [ "$actual" != "$sha512" ]; then
    echo "fetch-typescript-yardsticks: $package is not the pinned file: sha512 $actual" >&2
    exit 1
  fi
  mkdir "$work/all/${file%%-[0-9l]*}"
  tar -xzf "$work/$file" -C "$work/all/${file%%-[0-9l]*}" --strip-components=1 --no-same-owner
done
chmod -R u=rwX,go=rX "$work/all"
echo "$pins" >"$work/all/.forkbox-version"
rm -rf "$target"
mv "$work/all" "$target"
