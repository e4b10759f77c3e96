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

reader() {
    local errors=0 rounds=0 want file got
    while [ ! -e "$STATE/reader.stop" ]; do
        while read -r want file; do
            got=$(dd if="$TARGET/hbase/$file" iflag=direct bs=256K status=none | sha256sum) || errors=$((errors + 1))
            if [ "${got%% *}" != "$want" ]; then
                errors=$((errors + 1))
                echo "wrong: $file" >&2
            fi
        done <"$STATE/sums"
        rounds=$((rounds + 1))
        echo "$rounds $errors" >"$STATE/reader.new"
        mv "$STATE/reader.new" "$STATE/reader.result"
    done
}

rounds() {
    cut -d' ' -f1 "$STATE/reader.result" 2>/dev/null || echo 0
}

more_rounds_than() {
    [ "$(rounds)" -gt "$1" ]
}

running_again() { # running_again POD OLD-PID
    local pid
    pid=$(pod_pid "$1") && [ -n "$pid" ] && [ "$pid" != "$2" ] && [ "$pid" != "-" ] && kill -0 "$pid"
}

reader 2>"$STATE/reader.log" &
reader_pid=$!
wait_for 120 "the reader's first round" more_rounds_than 0

leader=$(goosefs fs leader)
worker=$(fluid-controller get pods | awk '/^hbase-worker-/ {print $1; exit}')
fuse=$(fluid-controller get pods | awk '/^hbase-fuse-/ {print $1; exit}')
for pod in "$leader" "$worker" "$fuse"; do
    pid=$(pod_pid "$pod")
    expect "$pod has a process" kill -0 "$pid"
    echo "killing $pod (pid $pid)"
    before=$(rounds)
    kill -KILL "$pid"
    wait_for 60 "$pod to run again" running_again "$pod" "$pid"
    wait_for 120 "two more rounds of the reader" more_rounds_than $((before + 1))
done
: >"$STATE/reader.stop"
wait "$reader_pid"
read -r n errors <"$STATE/reader.result"
echo "$n rounds, $errors errors"
expect "no error" test "$errors" = 0
