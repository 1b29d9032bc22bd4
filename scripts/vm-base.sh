#!/bin/sh
# Makes what a virtual machine's image has from Debian. `forkbox vm build` runs this, rarely: the
# result is kept, by the hash of this file. Needs root, a network, mmdebstrap and erofs-utils.
#
#   vm-base.sh DIR        fills DIR, which exists and is empty:
#     base.erofs          the packages of a Debian system
#     vmlinuz, release    a kernel of Debian's, and its name
#     modules/            the modules that the agent loads, and their names in order in `list`
#     packages            "name version" of all of it, a line each
#
# stdout: a line when a step begins; stderr: why it failed. The same packages give the same bytes.
# FORKBOX_VM_MIRROR: where Debian comes from, instead of where this machine has it from.
set -eu
umask 022
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC0 SOURCE_DATE_EPOCH=1700000000
# What Python compiles by the way, when packages run it, is dated.
export PYTHONDONTWRITEBYTECODE=1

suite=bookworm
# What the languages take, and what programs in them may expect of a small Debian system.
packages="bash coreutils diffutils findutils grep gzip sed tar util-linux procps passwd mawk libstdc++6
  tzdata media-types netbase python3 python3-numpy golang-1.21-go golang-1.21-src"
kernel=linux-image-cloud-amd64
# In the order in which they can be loaded; the checksum of erofs finds its algorithm by name.
modules="virtio_ring virtio virtio_mmio virtio_console virtio_blk crc32c-intel libcrc32c erofs
  overlay"
# Read by people only: half of what would be installed.
unread="doc man info locale lintian bug bash-completion"

fail() {
  echo "vm-base: $*" >&2
  exit 1
}

# mmdebstrap calls this with its root while apt's lists are still there: the kernel is of the same
# archive, but is not installed, neither here nor there.
if [ "$1" = --fetch-kernel ]; then
  export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
  cd "$FORKBOX_VM_BASE/work"
  name=$(apt-cache depends "$kernel" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
  [ -n "$name" ] || fail "Debian has no $kernel"
  apt-get download -qq -o APT::Sandbox::User=root "$name"
  exit 0
fi

case "$0" in /*) self=$0 ;; *) self=$PWD/$0 ;; esac
dir=$(cd "$1" && pwd)
# With nothing of the caller's environment, and in namespaces of its own: whatever ends this script
# ends all of it, mounts included. Without them a tree that was left could hold this machine's /dev
# and /sys, and whoever removed the one would remove the other.
if [ -z "${FORKBOX_VM_BASE:-}" ]; then
  [ "$(id -u)" = 0 ] ||
    fail "must run as root: a Debian system is unpacked with its owners and devices"
  apart="unshare --mount --pid --fork --kill-child --mount-proc"
  why=$($apart true 2>&1) ||
    fail "no mount and pid namespaces to be had, as in a container without privileges: ${why#unshare: }"
  exec env -i FORKBOX_VM_BASE="$dir" FORKBOX_VM_SELF="$self" \
    FORKBOX_VM_MIRROR="${FORKBOX_VM_MIRROR:-}" ${http_proxy:+http_proxy="$http_proxy"} \
    ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} \
    $apart sh "$self" "$dir"
fi
for tool in mmdebstrap mkfs.erofs dpkg-deb; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install mmdebstrap erofs-utils"
done
mkdir "$dir/work" "$dir/modules"
tree=$dir/work/tree

# From wherever this machine has Debian: perhaps a mirror of its network.
mirror_of() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
    sed -n "s/ $1\$//p" | grep '^https\{0,1\}:' | head -n 1
}
mirror=${FORKBOX_VM_MIRROR:-$(mirror_of $suite || true)}
mirror=${mirror:-http://deb.debian.org/debian}
security=$(mirror_of $suite-security || true)
security=${security:-http://deb.debian.org/debian-security}
cat >"$dir/work/sources.list" <<EOF
deb $mirror $suite main
deb $mirror $suite-updates main
deb $mirror $suite-backports main
deb $security $suite-security main
EOF
set -- --mode=root --variant=essential --format=directory \
  --aptopt='Acquire::Retries "2"' --aptopt='Acquire::http::Timeout "30"'
for name in $unread; do set -- "$@" --dpkgopt="path-exclude=/usr/share/$name/*"; done
# A proxy that this machine's apt goes through is the way for this one, too.
proxy=$(apt-config shell p Acquire::http::Proxy 2>/dev/null || true)
[ -z "$proxy" ] || { eval "$proxy"; set -- "$@" --aptopt="Acquire::http::Proxy \"$p\""; }

echo "Debian's packages from $mirror"
if ! mmdebstrap "$@" --include="$(echo $packages | tr ' ' ',')" \
    --customize-hook='sh "$FORKBOX_VM_SELF" --fetch-kernel "$1"' \
    "$suite" "$tree" - <"$dir/work/sources.list" >"$dir/work/log" 2>&1; then
  why=$(grep -E 'Could not (resolve|connect)|Temporary failure|timed out' "$dir/work/log" | head -n 1)
  [ -z "$why" ] || fail "no way to Debian's mirror $mirror:$(echo "$why" | sed 's/^[EW]:/ /; s/  */ /g')"
  why=$(grep -E '^(E:|Err:|dpkg: error|vm-base:)' "$dir/work/log" | head -n 1)
  fail "mmdebstrap: ${why:-$(tail -n 1 "$dir/work/log")}"
fi

echo "the kernel"
dpkg-deb -x "$dir"/work/linux-image-*.deb "$dir/work/kernel"
ls "$dir/work/kernel/lib/modules" >"$dir/release"
cp "$dir"/work/kernel/boot/vmlinuz-* "$dir/vmlinuz"
for module in $modules; do
  found=$(find "$dir/work/kernel/lib/modules" -name "$module.ko")
  [ -n "$found" ] || fail "the kernel has no module $module"
  # Each of those that it depends on has come before.
  for needed in $(tr '\0' '\n' <"$found" | sed -n 's/^depends=//p' | tr ',' ' '); do
    [ -e "$dir/modules/$needed.ko" ] || fail "the kernel's $module takes $needed, too"
  done
  cp "$found" "$dir/modules/"
  echo "$module.ko" >>"$dir/modules/list"
done
{
  dpkg-query --admindir="$tree/var/lib/dpkg" -W -f '${Package} ${Version}\n'
  dpkg-deb -W --showformat '${Package} ${Version}\n' "$dir"/work/linux-image-*.deb
} | sort >"$dir/packages"

# What differs from one time to the next, tells of this machine, or nobody will need.
cd "$tree"
rm -rf boot dev etc/apt/sources.list etc/apt/sources.list.d etc/apt/apt.conf.d etc/hostname \
  etc/machine-id etc/resolv.conf etc/.pwd.lock etc/passwd- etc/group- etc/shadow- etc/gshadow- \
  run tmp var/cache var/log var/lib/apt var/lib/dpkg/status-old var/lib/dpkg/lock \
  var/lib/dpkg/lock-frontend var/lib/systemd var/tmp etc/ld.so.cache~
mkdir boot dev run var/cache var/log
mkdir -m 1777 tmp var/tmp
# Python checks what it has compiled against the source at every import. Nothing changes here, so
# it need not (PEP 552: by hash, unchecked).
chroot . /usr/bin/python3 -I - <<'EOF'
import os
for folder, _, files in os.walk("/usr"):
    for name in files:
        if name.endswith(".pyc"):
            with open(os.path.join(folder, name), "r+b") as file:
                if file.read(8)[4] == 3:
                    file.seek(4)
                    file.write(b"\1")
EOF
cd "$dir"

echo "the base disk"
mkfs.erofs --quiet -zlz4hc -T "$SOURCE_DATE_EPOCH" -U 66626f78-0000-4000-8000-000000000001 \
  --all-root "$dir/base.erofs" "$tree" >"$dir/work/log" 2>&1 ||
  fail "mkfs.erofs: $(tail -n 1 "$dir/work/log")"
chmod 644 "$dir/base.erofs" "$dir/vmlinuz"
rm -rf "$dir/work"
