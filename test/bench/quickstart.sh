#!/usr/bin/env bash
# bench: start of the masters to the first byte through the mount, and the memory of each process
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh
. script/lib/mirror.sh
. script/lib/node.sh

RUNS=${RUNS:-5}
STATE=
WEB_PID=

cleanup() {
    unmount_volume || true
    stop_platform || true
    stop_web
    rm -rf --one-file-system "$STATE"
}

# One run: everything stopped before, the objects applied at time zero, so that the figure contains
# the start of masters, workers and client, elections, mounting and the first fetch.
one_run() {
    local start first
    rm -rf --one-file-system "$STATE/node" "$STATE/runtime-mnt" "$STATE/kubelet"
    start_platform
    start=$(now_ms)
    fluid-controller apply -f "$STATE/dataset.yaml" -f "$STATE/runtime.yaml" >&2
    mount_volume
    wait_for 60 "the data set in the mount" head -c 1 "$TARGET/hbase/one-byte"
    first=$(now_ms)
    awk -v ms=$((first - start)) 'BEGIN { printf "%.3f\n", ms / 1000 }'
}

main() {
    build release programs
    use_binaries build/release/bin
    STATE=$(mktemp -d /tmp/goosefs-bench-XXXXXX)
    trap cleanup EXIT
    make_mirror "$STATE/origin/hbase" 50
    start_web "$STATE/origin" "$STATE/web"
    sed "s|\(mountPoint:\) .*|\1 http://127.0.0.1:$WEB_PORT/hbase/|" deploy/samples/dataset.yaml >"$STATE/dataset.yaml"
    cp deploy/samples/runtime.yaml "$STATE/runtime.yaml"

    local run
    for run in $(seq "$RUNS"); do
        say "run $run of $RUNS"
        if [ -n "$CONTROLLER_PID" ]; then
            unmount_volume
            stop_platform
        fi
        one_run >>"$STATE/first_byte"
    done
    cat "$TARGET"/hbase/* >/dev/null 2>&1 || true

    figure quickstart first_byte_s "$(median <"$STATE/first_byte")" s
    figure quickstart rss_master_mb "$(rss_mb "$(pod_pid hbase-master-0)")" MiB
    figure quickstart rss_worker_mb "$(rss_mb "$(pod_pid "$(pod_named hbase-worker)")")" MiB
    figure quickstart rss_fuse_mb "$(rss_mb "$(pod_pid "$(pod_named hbase-fuse)")")" MiB
}

pod_named() {
    fluid-controller get pods | awk -v prefix="$1-" 'index($1, prefix) == 1 { print $1; exit }'
}

main
