#!/bin/sh
# Unpacks one pinned npm package into a new directory; for the fetch-*.sh scripts.
#
# npm only carries the file: what we accept is the tarball whose SHA-512 (base64) is given, so the
# registry or mirror in use need not be trusted. No script of the package is run.
#
#   scripts/npm-package.sh PACKAGE VERSION SHA512 DIR [PATH_IN_PACKAGE …]
set -eu

package=$1 version=$2 sha512=$3 dir=$4
shift 4

if ! command -v npm >/dev/null 2>&1; then
  if [ "$(id -u)" != 0 ]; then
    echo "npm-package: npm is missing (as root: apt-get install --no-install-recommends npm)" >&2
    exit 1
  fi
  echo "npm-package: installing npm, which carries $package" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null
fi

mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$(dirname "$dir")/npm.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# In a directory of its own: no package.json, .npmrc or script of a surrounding project applies.
(cd "$work" && npm pack --silent --ignore-scripts "$package@$version" >/dev/null)
actual=$(openssl dgst -sha512 -binary "$work"/*.tgz | base64 -w0)
if [ "$actual" != "$sha512" ]; then
  echo "npm-package: $package@$version is not the pinned file: sha512 $actual" >&2
  exit 1
fi

mkdir "$work/tree"
for path in "$@"; do
  set -- "$@" "package/$path"
  shift
done
tar -xzf "$work"/*.tgz -C "$work/tree" --strip-components=1 --no-same-owner "$@"
chmod -R u=rwX,go=rX "$work/tree"
mv "$work/tree" "$dir"
