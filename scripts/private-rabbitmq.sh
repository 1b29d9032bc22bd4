#!/bin/bash
# One RabbitMQ in the foreground, for tests and trials: on loopback, with all it writes in DIR, and
# nothing of it left running however this script ends.
#
#   scripts/private-rabbitmq.sh DIR PORT
#
# Prints "ready PID" once amqp://forkbox:forkbox@127.0.0.1:PORT/ answers; PID is the broker's own.
# SIGTERM stops it in order. DIR may be that of an earlier run, which then goes on. Ports: PORT for
# AMQP, the next two for Erlang's distribution and its port mapper, the seven after for the CLI.
# DIR/ctl is rabbitmqctl for this broker.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

if [ $# != 2 ] || ! [ "$2" -gt 0 ] 2>/dev/null; then
  echo "usage: private-rabbitmq.sh DIR PORT" >&2
  exit 2
fi
# Debian's wrappers in /usr/sbin change user and directory; these do not.
bin=/usr/lib/rabbitmq/bin
if [ ! -x $bin/rabbitmq-server ]; then
  echo "private-rabbitmq: rabbitmq-server is not installed (scripts/setup.sh --servers)" >&2
  exit 1
fi
mkdir -p "$1" || exit 1
dir=$(cd "$1" && pwd)
port=$2
dist_port=$((port + 1))
epmd_port=$((port + 2))
mkdir -p "$dir"/{data,log,generated,schema}

# consumer_timeout is above the longest job (in 3.10 it is for the whole node). The limits are
# absolute, so that a test means the same on any machine.
cat >"$dir/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
default_user = forkbox
default_pass = forkbox
consumer_timeout = 7200000
vm_memory_high_watermark.absolute = 512MiB
disk_free_limit.absolute = 100MB
log.console = false
log.file.level = warning
CONF
echo '[].' >"$dir/enabled_plugins"
if [ ! -s "$dir/.erlang.cookie" ]; then
  (umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/.erlang.cookie")
fi
chmod 400 "$dir/.erlang.cookie"

environment=(
  HOME="$dir" PATH=/usr/bin:/bin LANG=C.UTF-8 ERL_CRASH_DUMP_SECONDS=0
  ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$epmd_port
  RABBITMQ_NODENAME="forkbox$port@localhost" RABBITMQ_DIST_PORT=$dist_port
  RABBITMQ_CTL_DIST_PORT_MIN=$((port + 3)) RABBITMQ_CTL_DIST_PORT_MAX=$((port + 9))
  RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf"
  RABBITMQ_ADVANCED_CONFIG_FILE="$dir/advanced.config"
  RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins"
  RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_PID_FILE="$dir/pid"
  RABBITMQ_GENERATED_CONFIG_DIR="$dir/generated" RABBITMQ_SCHEMA_DIR="$dir/schema"
  RABBITMQ_CTL_ERL_ARGS="-start_epmd false"  # when there is none, there is no broker either
  # The start script then execs the Erlang VM instead of watching it from a shell.
  RUNNING_UNDER_SYSTEMD=1
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +B i"
)
user=()
if [ "$(id -u)" = 0 ]; then
  user=(--reuid=nobody --regid=nogroup --clear-groups)
  chown -R nobody:nogroup "$dir"
fi
# Replaces the calling subshell; SIGNAL comes when this script is gone.
as_child() {  # SIGNAL COMMAND …
  exec env -i "${environment[@]}" setpriv ${user[@]+"${user[@]}"} --pdeathsig "$1" "${@:2}"
}

{
  echo '#!/bin/sh'
  echo 'cd /'
  printf 'exec env -i'
  printf ' %q' "${environment[@]}"
  [ ${#user[@]} = 0 ] || printf ' setpriv %s' "${user[*]}"
  printf ' %s -q "$@"\n' $bin/rabbitmqctl
} >"$dir/ctl"
chmod 755 "$dir/ctl"

cd "$dir" || exit 1
# Erlang would start the port mapper as a daemon of its own that outlives everything.
(as_child KILL epmd -address 127.0.0.1 -port $epmd_port) >"$dir/log/epmd" 2>&1 &
epmd=$!
broker=
stop() {
  trap '' TERM INT
  [ -z "$broker" ] || { kill "$broker" 2>/dev/null; wait "$broker" 2>/dev/null; }
  kill "$epmd" 2>/dev/null
  wait "$epmd" 2>/dev/null
  exit "$1"
}
trap 'stop 0' TERM INT
(as_child TERM $bin/rabbitmq-server) >"$dir/log/console" 2>&1 &
broker=$!

# It is ready when it answers the protocol's header with a method frame, which begins with a 1.
answers() {
  local first
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf 'AMQP\0\0\11\1' >&3
  IFS= read -r -n1 -d '' -t 1 first <&3
  exec 3>&-
  [ "$first" = $'\1' ]
} 2>/dev/null

until answers; do
  if ! kill -0 "$broker" 2>/dev/null; then
    echo "private-rabbitmq: the broker ended:" >&2
    tail -n 5 "$dir/log/console" >&2
    stop 1
  fi
  sleep 0.1
done
echo "ready $broker"
wait "$broker" 2>/dev/null
stop 1
