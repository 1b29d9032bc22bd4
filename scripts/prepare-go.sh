#!/bin/sh
# Makes what compiling Go in a sandbox takes, once for each build: the archives of the standard
# library, without DWARF, their importcfg, the small driver of compiler and linker, and interactive
# sessions.
#
#   scripts/prepare-go.sh GOROOT DIR          DIR appears in sandboxes as /opt/forkbox/go
set -eu
goroot=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
cd "$(dirname "$0")/../runner/languages/go/build"

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
# Nothing of the machine's own settings, and no network: the standard library is all there is.
run_go() {
  env -i PATH=/usr/bin:/bin HOME="$work" GOROOT="$goroot" GOCACHE="$work/cache" GOPATH="$work/path" \
    GOENV=off GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=mod CGO_ENABLED=0 "$goroot/bin/go" "$@"
}

rm -rf "$dir/pkg" "$dir/importcfg" "$dir/tool"
run_go build -trimpath -ldflags='-s -w' -o "$dir/forkbox-gobuild" .
run_go build -C ../session -trimpath -ldflags='-s -w' -o "$dir/forkbox-gosession" .
run_go list -export -deps -gcflags=all=-dwarf=false \
  -f '{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}' std |
  while read -r package archive; do
    mkdir -p "$dir/pkg/$(dirname "$package")"
    cp "$archive" "$dir/pkg/$package.a"
    echo "packagefile $package=/opt/forkbox/go/pkg/$package.a"
  done >"$work/importcfg"
grep -q '^packagefile net/http=' "$work/importcfg"
# The tools themselves are the installed ones, at a path that does not name the architecture.
ln -s "$(run_go env GOTOOLDIR)" "$dir/tool"
# Last, and whole or not at all: the language is there when this file is.
cp "$work/importcfg" "$dir/importcfg.new"
mv "$dir/importcfg.new" "$dir/importcfg"
