#!/bin/bash
# One PostgreSQL in the foreground, for tests and trials: on loopback, with all it writes in DIR,
# and nothing of it left running however this script ends. It asks for no password.
#
#   scripts/private-postgres.sh DIR PORT
#
# Prints "ready PID" once postgres://forkbox@127.0.0.1:PORT/forkbox answers; PID is the server's own.
# SIGTERM stops it in order (open connections are cut). DIR may be that of an earlier run, which
# then goes on. DIR/.s.PGSQL.PORT is its Unix socket, DIR/log what it had to say.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

if [ $# != 2 ] || ! [ "$2" -gt 0 ] 2>/dev/null; then
  echo "usage: private-postgres.sh DIR PORT" >&2
  exit 2
fi
# Debian keeps the programs of each version apart; the newest will do.
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
if [ ! -x "$bin/postgres" ]; then
  echo "private-postgres: postgresql is not installed (scripts/setup.sh --servers)" >&2
  exit 1
fi
mkdir -p "$1" || exit 1
dir=$(cd "$1" && pwd)
port=$2
if [ ${#dir} -gt 90 ]; then
  echo "private-postgres: $dir: too long for the path of a Unix socket (107 bytes)" >&2
  exit 1
fi

# The server refuses to be root, and a user without an entry in /etc/passwd.
user=()
if [ "$(id -u)" = 0 ]; then
  user=(--reuid=nobody --regid=nogroup --clear-groups)
  chown -R nobody:nogroup "$dir"
fi
chmod 700 "$dir"
# Replaces the calling subshell. When this script is gone SIGINT comes: cut connections and stop.
as_child() {
  exec env -i HOME="$dir" PATH="$bin:/usr/bin:/bin" LANG=C.UTF-8 TZ=UTC \
    setpriv ${user[@]+"${user[@]}"} --pdeathsig INT "$@"
}

cd "$dir" || exit 1
if [ ! -e "$dir/data/forkbox_made" ]; then
  rm -rf "$dir/data"
  if ! { (as_child initdb -D "$dir/data" -U forkbox -A trust -E UTF8 --locale=C.UTF-8) &&
         echo 'CREATE DATABASE forkbox' | (as_child postgres --single -D "$dir/data" postgres) &&
         touch "$dir/data/forkbox_made"; } >"$dir/log" 2>&1; then
    echo "private-postgres: no data directory could be made:" >&2
    tail -n 5 "$dir/log" >&2
    exit 1
  fi
fi

server=
stop() {
  trap '' TERM INT
  [ -z "$server" ] || { kill -INT "$server" 2>/dev/null; wait "$server" 2>/dev/null; }
  exit "$1"
}
trap 'stop 0' TERM INT
(as_child postgres -D "$dir/data" -p "$port" -c listen_addresses=127.0.0.1 \
  -c unix_socket_directories="$dir" -c max_connections=100 -c jit=off) >>"$dir/log" 2>&1 &
server=$!

until "$bin/pg_isready" -q -h "$dir" -p "$port" -U forkbox -d forkbox; do
  if ! kill -0 "$server" 2>/dev/null; then
    echo "private-postgres: the server ended:" >&2
    tail -n 5 "$dir/log" >&2
    stop 1
  fi
  sleep 0.02
done
echo "ready $server"
wait "$server" 2>/dev/null
stop 1
