#!/usr/bin/env bash
# Three nodes and two simulated clusters on loopback.
#
#   deploy/local/cluster.sh [BINARY]      run them until ^C
#   deploy/local/cluster.sh --start N     have node N, which ended, started again
#                                         (by the run above)
#
# Environment: DATA_DIR (default data), where cluster-{1,2,3} and cluster-crm keep
# their state and logs; HTTP_PORT (default 8080), the API port of the first node,
# from which all others follow. A node's process id is in DATA_DIR/cluster-N/pid.
set -euo pipefail
# Each child gets a process group of its own: ^C reaches this script alone, which
# then ends its children in order.
set -m

data=${DATA_DIR:-data}
port=${HTTP_PORT:-8080}
binary=bin/oprc-pm

# By default 8080-8082, 7000-7002, 7946-7948; the simulated clusters are at 8181
# and 8182.
http_addr() { echo "127.0.0.1:$((port + $1 - 1))"; }
cluster_addr() { echo "127.0.0.1:$((port - 1080 + $1 - 1))"; }
gossip_addr() { echo "127.0.0.1:$((port - 134 + $1 - 1))"; }
crm_addr() { echo "127.0.0.1:$((port + 100 + $1))"; }

if [ "${1:-}" = --start ]; then
  n=${2:?which node: 1, 2 or 3}
  touch "$data/cluster-$n/start"
  echo "node-$n will be started by the script that runs the others"
  exit
fi
binary=${1:-$binary}
if [ ! -x "$binary" ]; then
  echo "$binary is not there; run make build" >&2
  exit 2
fi

declare -A pids # of the children, by what they are

start_node() {
  local n=$1 dir=$data/cluster-$1
  mkdir -p "$dir"
  rm -f "$dir/ready.json" "$dir/start"
  CRM_CLUSTERS_JSON="{\"oaas-1\":{\"url\":\"http://$(crm_addr 1)\"},\"oaas-2\":{\"url\":\"http://$(crm_addr 2)\"}}" \
    "$binary" server --node-name "node-$n" --data-dir "$dir" --bootstrap-expect 3 \
    --http-addr "$(http_addr "$n")" --cluster-addr "$(cluster_addr "$n")" --gossip-addr "$(gossip_addr "$n")" \
    --join "$(gossip_addr 1),$(gossip_addr 2),$(gossip_addr 3)" \
    --ready-file "$dir/ready.json" >>"$dir/log" 2>&1 &
  pids[node-$n]=$!
  echo $! >"$dir/pid"
}

start_crm() {
  local dir=$data/cluster-crm/oaas-$1
  mkdir -p "$dir"
  "$binary" crm-sim --name "oaas-$1" --listen "$(crm_addr "$1")" --state-dir "$dir" \
    --time-to-running 1s >>"$data/cluster-crm/oaas-$1.log" 2>&1 &
  pids[oaas-$1]=$!
}

# Only what was started here is ended, by its id; the clusters after the nodes.
finish() {
  trap '' INT TERM
  for name in node-1 node-2 node-3; do kill -TERM "${pids[$name]:-}" 2>/dev/null || true; done
  for name in node-1 node-2 node-3; do wait "${pids[$name]:-}" 2>/dev/null || true; done
  for name in oaas-1 oaas-2; do kill -TERM "${pids[$name]:-}" 2>/dev/null || true; done
  for name in oaas-1 oaas-2; do wait "${pids[$name]:-}" 2>/dev/null || true; done
  echo "stopped"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for n in 1 2; do start_crm "$n"; done
for n in 1 2 3; do start_node "$n"; done

# A linearizable read is answered once there is a leader.
if ! "$binary" get packages --timeout 60s --server "$(http_addr 1)" >/dev/null 2>&1; then
  echo "the nodes found no leader within a minute; see $data/cluster-1/log" >&2
  exit 1
fi
"$binary" cluster members --server "$(http_addr 1)"
cat <<TEXT

Three nodes are up; their state and logs are in $data/cluster-{1,2,3}. Any node
takes any request:
  $binary apply -f deploy/examples/echo.yml --wait --server http://$(http_addr 2)
  $binary get deployments --server http://$(http_addr 3)
  $binary cluster members
To lose a node, and to have it back:
  kill -9 \$(cat $data/cluster-1/pid)
  deploy/local/cluster.sh --start 1
^C stops everything.
TEXT

# Tells of nodes that ended and starts those that are asked for. (What the shell
# says itself about a killed child is dropped.)
while :; do
  for n in 1 2 3; do
    pid=${pids[node-$n]}
    if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then
      echo "node-$n ended"
      pids[node-$n]=
    fi
    if [ -e "$data/cluster-$n/start" ]; then
      rm -f "$data/cluster-$n/start"
      if [ -z "${pids[node-$n]}" ]; then
        start_node "$n"
        echo "node-$n started"
      fi
    fi
  done
  sleep 0.3 &
  wait $! || true
done 2>/dev/null
