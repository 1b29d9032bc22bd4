#!/bin/sh
# Puts the pinned browser bundle of Scalar (the page that shows our OpenAPI document) into
# .deps/scalar. Quick when it is already there.
#
# npm only carries the file: what we accept is the tarball whose SHA-512 stands below, so the
# registry or mirror in use need not be trusted.
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

if ! command -v npm >/dev/null 2>&1; then
  if [ "$(id -u)" != 0 ]; then
    echo "fetch-scalar: npm is missing (as root: apt-get install --no-install-recommends npm)" >&2
    exit 1
  fi
  echo "fetch-scalar: installing npm, which carries the pinned bundle" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null
fi

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/scalar.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# In a directory of its own: no package.json, .npmrc or script of a surrounding project applies.
(cd "$work" && npm pack --silent --ignore-scripts "$package@$version" >/dev/null)
tarball=$work/scalar-api-reference-$version.tgz

actual=$(openssl dgst -sha512 -binary "$tarball" | base64 -w0)
if [ "$actual" != "$sha512" ]; then
  echo "fetch-scalar: $package@$version is not the pinned file: sha512 $actual" >&2
  exit 1
fi

mkdir "$work/scalar"
tar -xzf "$tarball" -C "$work" --no-same-owner package/dist/browser/standalone.js
# The package carries no file of its licence (MIT); this says so and names whose it is.
printf '%s\n' "$package $version, MIT licence, https://github.com/scalar/scalar" >"$work/scalar/NOTICE"
mv "$work/package/dist/browser/standalone.js" "$work/scalar"
chmod -R u=rwX,go=rX "$work/scalar"
printf '%s\n' "$version" >"$work/scalar/version"
echo "$version $sha512" >"$work/scalar/.forkbox-version"

# The old one goes away only now, whole; nobody sees half an installation.
rm -rf "$target"
mv "$work/scalar" "$target"
