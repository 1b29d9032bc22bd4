#!/bin/bash
# A whole cluster on this machine, until SIGINT or SIGTERM: a private RabbitMQ and PostgreSQL, two
# API processes, two runners and one webhook process. All on loopback; everything it keeps is in DIR.
#
#   scripts/cluster.sh [DIR]       FORKBOX_CLUSTER_PORT: the first API's, 8081; the next ones follow
set -u
cd "$(dirname "$0")/.."
# Absolute, and not below a home: the servers' own users must be able to walk there.
dir=$(realpath -m "${1:-/var/tmp/forkbox-cluster-$(id -u)}")
port=${FORKBOX_CLUSTER_PORT:-8081}
forkbox=${FORKBOX_PROGRAM:-build/cli/forkbox}
slots=${FORKBOX_SLOTS:-2}

mkdir -p "$dir/log"
# Below /var/tmp anybody could have made it first, and put links where we write.
if [ ! -O "$dir" ] || [ ! -O "$dir/log" ]; then
  echo "cluster: $dir is not ours" >&2
  exit 1
fi
exec 9>"$dir/lock"
if ! flock -n 9; then
  echo "cluster: another one uses $dir" >&2
  exit 1
fi

pids=()    # ours first, then the servers they use: stopped in this order
servers=()
stop_all() {
  trap - EXIT INT TERM
  echo "cluster: stopping"
  local pid
  # All of ours at once, each drains what it has begun; then the servers under them.
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  for pid in "${servers[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "${servers[@]}"; do wait "$pid" 2>/dev/null; done
  echo "cluster: stopped"
}
trap 'stop_all; exit 0' INT TERM
trap 'stop_all; exit 1' EXIT

# Waits until `pattern` stands in a process's output, or the process is gone.
await() {
  local name=$1 pid=$2 pattern=$3
  for _ in $(seq 1200); do
    if grep -q "$pattern" "$dir/log/$name.out" 2>/dev/null; then return 0; fi
    if ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "cluster: $name did not start; the end of its log:" >&2
  tail -n 5 "$dir/log/$name.out" "$dir/log/$name.log" >&2
  exit 1
}

# A session of its own: Ctrl-C comes to us alone, so that we choose the order of the end.
launch() {
  local name=$1
  shift
  setsid "$@" >"$dir/log/$name.out" 2>"$dir/log/$name.log" 9>&- &
}

launch rabbitmq scripts/private-rabbitmq.sh "$dir/rabbitmq" $((port + 10))
servers+=($!)
launch postgres scripts/private-postgres.sh "$dir/postgres" $((port + 20))
servers+=($!)
await rabbitmq "${servers[0]}" '^ready'
await postgres "${servers[1]}" '^ready'

export FORKBOX_BROKER="amqp://forkbox:forkbox@127.0.0.1:$((port + 10))/"
export FORKBOX_DATABASE="postgres://forkbox@127.0.0.1:$((port + 20))/forkbox"
for i in 1 2; do
  launch "runner$i" "$forkbox" runner --slots "$slots"
  pids+=($!)
done
launch webhook "$forkbox" webhook
pids+=($!)
for i in 0 1; do
  launch "api$((i + 1))" "$forkbox" api --listen "127.0.0.1:$((port + i))"
  pids+=($!)
done
await runner1 "${pids[0]}" 'is ready'
await runner2 "${pids[1]}" 'is ready'
await webhook "${pids[2]}" 'is ready'
await api1 "${pids[3]}" 'listens on'
await api2 "${pids[4]}" 'listens on'

cat <<EOF
api 1      http://127.0.0.1:$port
api 2      http://127.0.0.1:$((port + 1))
rabbitmq   $FORKBOX_BROKER
postgres   $FORKBOX_DATABASE
runners    pid ${pids[0]}, pid ${pids[1]}
webhook    pid ${pids[2]}
logs       $dir/log
Try it:
  curl -s http://127.0.0.1:$port/v1/exec -H 'Content-Type: application/json' \\
    -d '{"language":"python","code":"print(1 + 1)"}'
  curl -s http://127.0.0.1:$((port + 1))/api/v1/queue
Ctrl-C stops all of it; the data stays in $dir.
EOF

# One that dies by itself is the end of all: a cluster with a hole would only confuse.
wait -n "${pids[@]}" "${servers[@]}"
echo "cluster: a process ended by itself; see $dir/log" >&2
exit 1
