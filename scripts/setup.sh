#!/bin/sh
# Installs what building and running forkbox needs on Debian 12 and fetches the pinned pieces that
# Debian does not have into .deps/. Quick and offline when everything is there already.
#
#   scripts/setup.sh            what `make run` and `make test` need
#   scripts/setup.sh --bench    that, and the yardsticks of `make bench`
#   scripts/setup.sh --servers  that, and the servers that tests and `make cluster` start themselves
#   scripts/setup.sh --languages  that, and the toolchains of every language: Go (from Debian's
#                               backports), Java, Ruby, PHP, Perl, Lua; and matplotlib for Python
#   scripts/setup.sh --vm       that, and what virtual machines take: QEMU to run them; mmdebstrap and
#                               erofs-utils to make their image, and Go, which is in it. A machine
#                               that gets the image ready-made needs QEMU alone
#   scripts/setup.sh --toolchains  nothing but what programs are compiled and run with: for a machine
#                               that gets forkbox ready-made, as the runner's image does
set -eu
cd "$(dirname "$0")/.."
# System tools first: a pyenv or nvm shim must not decide which python or node we build against.
export PATH="/usr/sbin:/usr/bin:/sbin:/bin:$PATH"

packages="g++ cmake ninja-build ccache pkg-config curl ca-certificates
  libpistache-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libexpected-dev libcli11-dev
  prometheus-cpp-dev libcurl4-openssl-dev libseccomp-dev libsqlite3-dev libssl-dev libcap-dev
  librabbitmq-dev libpqxx-dev libpq-dev
  python3 python3-dev python3-numpy python3-yaml libgtest-dev libgmock-dev"
fetches="scripts/fetch-valijson.sh scripts/fetch-node.sh scripts/fetch-swc.sh scripts/fetch-scalar.sh"
toolchains="gcc g++ libc6-dev openjdk-17-jdk-headless ruby php-cli perl lua5.4
  golang-1.21-go golang-1.21-src"
# The two others keep scipy and the headers of Python out: 126 MB instead of 336.
figures="python3-matplotlib python3-munkres python3-unicodedata2"
# SeaBIOS comes with QEMU, gzip and dpkg-deb with every Debian.
machines="qemu-system-x86"
machine_images="mmdebstrap erofs-utils mount golang-1.21-go golang-1.21-src"
for arg in "$@"; do
  case "$arg" in
    --bench)
      packages="$packages bubblewrap wrk"
      fetches="$fetches scripts/fetch-typescript-yardsticks.sh"
      ;;
    --servers)
      packages="$packages rabbitmq-server postgresql"
      fetches="$fetches scripts/fetch-promtool.sh scripts/fetch-opensandbox-sdk.sh"
      ;;
    --languages)
      packages="$packages $toolchains $figures"
      ;;
    --vm)
      packages="$packages $machines $machine_images"
      ;;
    --toolchains)
      packages="bash python3 python3-numpy $toolchains"
      fetches=""
      ;;
    *) echo "setup: unknown argument $arg" >&2; exit 2 ;;
  esac
done

# Prints the packages of the arguments that are not installed.
missing() {
  for package in "$@"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || printf '%s ' "$package"
  done
}

# Debian 12 itself has Go 1.19; 1.21 is in its backports, from where nothing is installed unasked
# (that archive's priority is below that of everything else).
add_backports() {
  sources=/etc/apt/sources.list.d/forkbox-backports.sources
  # Somebody's entry for it is as good as ours.
  if grep -rqs 'bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d/; then return 0; fi
  # From wherever Debian itself comes: perhaps a mirror of this network.
  uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/ bookworm$//p; s/ stable$//p' | grep '/debian/*$' | head -n 1)
  cat >"$sources" <<EOF
Types: deb
URIs: ${uri:-http://deb.debian.org/debian}
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
}

if ! command -v dpkg-query >/dev/null; then
  echo "setup: not a Debian system; install the equivalents of: $(echo $packages)" >&2
  exit 1
fi
# shellcheck disable=SC2086
needed=$(missing $packages)
# A fetch that has still to be done asks apt, whose lists may never have been loaded (images).
if [ -z "$needed" ] && [ -n "$fetches" ] && [ "$(id -u)" = 0 ] && [ ! -e .deps/valijson ]; then
  apt-get update -qq
fi
if [ -n "$needed" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "setup: these packages are missing, and installing them needs root:" >&2
    echo "  apt-get install --no-install-recommends $needed" >&2
    exit 1
  fi
  echo "setup: installing $needed"
  export DEBIAN_FRONTEND=noninteractive
  case "$needed" in *golang-1.21*) add_backports ;; esac
  apt-get update -qq
  # Debian starts the servers that it installs. We want the programs only: nothing is started while
  # this policy says no, and where there is a policy already it is not ours to change.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $needed
fi

# Each of these checks what .deps/ holds by its pinned digest and returns at once when it matches.
for script in $fetches; do
  if [ -x "$script" ]; then "$script"; fi
done
