# Each process is killed with SIGKILL under readers that verify every byte: they see no error. One
# reader; with GFS_SURVIVAL_FULL (script/test survival) eight.
# shellcheck shell=bash

make_mirror "$ORIGIN/hbase" 20
start_web "$ORIGIN" "$STATE/web"
dataset "http://127.0.0.1:$WEB_PORT/hbase/"
runtime
start_platform
fluid-controller apply -f "$STATE/dataset.yaml" -f "$STATE/runtime.yaml"
expect "Bound" bound
mount_volume

(cd "$ORIGIN/hbase" && find . -type f -size -6M -print0 | xargs -0 sha256sum) >"$STATE/sums"
expect "the same files as the origin" test \
    "$(cd "$TARGET/hbase" && find . -type f | wc -l)" = "$(cd "$ORIGIN/hbase" && find . -type f | wc -l)"

names=(reader)
[ -z "${GFS_SURVIVAL_FULL:-}" ] || names=(reader{1..8})
readers=()
for name in "${names[@]}"; do
    read_until_stopped "$name" direct_round "$STATE/sums" 256K 2>"$STATE/$name.log" &
    readers+=("$name:$!")
done
wait_for 120 "the readers' first round" more_rounds_than 0 "${names[@]}"

leader=$(goosefs fs leader)
worker=$(fluid-controller get pods | awk '/^hbase-worker-/ {print $1; exit}')
fuse=$(fluid-controller get pods | awk '/^hbase-fuse-/ {print $1; exit}')
for pod in "$leader" "$worker" "$fuse"; do
    pid=$(pod_pid "$pod")
    expect "$pod has a process" kill -0 "$pid"
    echo "killing $pod (pid $pid)"
    before=$(most_rounds "${names[@]}")
    kill -KILL "$pid"
    wait_for 60 "$pod to run again" pod_restarted "$pod" "$pid"
    wait_for 120 "two more rounds of each reader" more_rounds_than $((before + 1)) "${names[@]}"
done
stop_readers "${readers[@]}"
