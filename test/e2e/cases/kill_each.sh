# Each process is killed with SIGKILL under a reader that verifies every byte: it sees no error.
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

read_until_stopped reader direct_round "$STATE/sums" 256K 2>"$STATE/reader.log" &
reader_pid=$!
wait_for 120 "the reader's first round" more_rounds_than 0 reader

leader=$(goosefs fs leader)
worker=$(fluid-controller get pods | awk '/^hbase-worker-/ {print $1; exit}')
fuse=$(fluid-controller get pods | awk '/^hbase-fuse-/ {print $1; exit}')
for pod in "$leader" "$worker" "$fuse"; do
    pid=$(pod_pid "$pod")
    expect "$pod has a process" kill -0 "$pid"
    echo "killing $pod (pid $pid)"
    before=$(reader_rounds reader)
    kill -KILL "$pid"
    wait_for 60 "$pod to run again" pod_restarted "$pod" "$pid"
    wait_for 120 "two more rounds of the reader" more_rounds_than $((before + 1)) reader
done
stop_readers "reader:$reader_pid"
