#!/bin/sh
# Puts the pinned browser bundle of Scalar (the page that shows our OpenAPI document) into
# .deps/scalar. Quick when it is already there.
#
#   scripts/fetch-scalar.sh [TARGET_DIR]
set -eu

package=@scalar/api-reference
version=1.72.1
sha512=XpEJ0rfc/cXbCrR+iC4kK0o/WwX2dTtGQbT049OlPKAHD6IMIFdTeGz2r+M27P2EDWKyUITRm/NzlP8z2pw/Ow==

root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$root/.deps/scalar}
stamp=$target/.forkbox-version

if [ "$(cat "$stamp" 2>/dev/null || true)" = "$version $sha512" ]; then
  exit 0
fi

rm -rf "$target.new"
"$root/scripts/npm-package.sh" "$package" "$version" "$sha512" "$target.new" dist/browser/standalone.js
mv "$target.new/dist/browser/standalone.js" "$target.new"
rm -r "$target.new/dist"
# The package carries no file of its licence (MIT); this says so and names whose it is.
printf '%s\n' "$package $version, MIT licence, https://github.com/scalar/scalar" >"$target.new/NOTICE"
printf '%s\n' "$version" >"$target.new/version"
echo "$version $sha512" >"$target.new/.forkbox-version"

# The old one goes away only now, whole; nobody sees half an installation.
rm -rf "$target"
mv "$target.new" "$target"
