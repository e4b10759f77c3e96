#!/usr/bin/env bash
# bench: errors and pauses when clients, keeper, plugin, masters, workers die; passthrough reads beside native
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh
. script/lib/mirror.sh
. script/lib/node.sh
. script/lib/reader.sh

ROUNDS=${ROUNDS:-6}
SECONDS_EACH=${SECONDS_EACH:-1}
FILE_MB=${FILE_MB:-1024}
READERS=${READERS:-8}
STATE=
WEB_PID=

cleanup() {
    [ -n "$STATE" ] || return 0
    : >"$STATE/reader.stop"
    unmount_volume || true
    stop_platform || true
    stop_web
    rm -rf --one-file-system "$STATE"
    STATE=
}

need_fio() {
    command -v fio >/dev/null && return 0
    say "installing fio"
    quietly apt-get install -y --no-install-recommends fio
}

# fio_read FILE PATTERN BLOCK FIELD: of fio's terse line; 7 is KiB/s, 8 operations/s. The same per
# second of processor time (88 and 89: user and system, %) behind it: what a busy machine leaves stable.
fio_read() {
    fio --name=r --readonly --filename="$1" --rw="$2" --bs="$3" --ioengine=psync --invalidate=0 \
        --time_based --runtime="$SECONDS_EACH" --output-format=terse --terse-version=3 |
        awk -F';' -v f="$4" '{ print $f, $f / (($88 + $89) / 100) }'
}

passthrough_opens() {
    curl -fsS "http://127.0.0.1:$METRICS_PORT/metrics" |
        awk '/^goosefs_fuse_passthrough_opens_total/ { n = $2 } END { print n + 0 }'
}

read_by_the_kernel() {
    local before
    before=$(passthrough_opens)
    cmp "$1" "$2" && [ "$(passthrough_opens)" -gt "$before" ]
}

# ratio NAME PATTERN BLOCK FIELD FILE NATIVE: both measured by turns; the median of each.
ratio() {
    local round
    : >"$STATE/mine"
    : >"$STATE/native"
    for round in $(seq "$ROUNDS"); do
        say "$1, round $round of $ROUNDS"
        # Who is first changes: what else runs on the machine must not favour one of them.
        if [ $((round % 2)) = 0 ]; then
            fio_read "$6" "$2" "$3" "$4" >>"$STATE/native"
        fi
        fio_read "$5" "$2" "$3" "$4" >>"$STATE/mine"
        if [ $((round % 2)) = 1 ]; then
            fio_read "$6" "$2" "$3" "$4" >>"$STATE/native"
        fi
    done
    ratio_of "$1" 1
    ratio_of "$1_cpu" 2
}

# ratio_of NAME COLUMN
ratio_of() {
    local mine native
    mine=$(cut -d' ' -f"$2" "$STATE/mine" | median)
    native=$(cut -d' ' -f"$2" "$STATE/native" | median)
    say "$1: mount $mine, native $native"
    figure survival "$1" "$(awk -v a="$mine" -v b="$native" 'BEGIN { print a / b }')" ratio
}

# A cached file through the whole stack beside the same bytes in a native file, in the page cache both.
native_ratios() {
    local file native before
    native="$STATE/native.bin"
    # Written in pieces as large as the worker's, the native file gets as large folios in the page cache.
    dd if="$STATE/origin/hbase/large.bin" of="$native" bs=4M iflag=fullblock status=none
    file="$TARGET/hbase/large.bin"
    wait_for 60 "the data set in the mount" test -e "$file"
    wait_for 120 "the file to be read by the kernel alone" read_by_the_kernel "$file" "$native"
    before=$(passthrough_opens)
    ratio seq_read_native_ratio read 1M 7 "$file" "$native"
    ratio rand_read_native_ratio randread 4K 8 "$file" "$native"
    [ $(($(passthrough_opens) - before)) -ge $((2 * ROUNDS)) ] || fail "not every read was in passthrough mode"
}

# The leader and then each worker killed under readers that compare every byte.
kill_cluster() {
    local readers=() names=() i pod pid before
    (cd "$STATE/origin/hbase" && find . -type f -size -2M -print0 | xargs -0 sha256sum) >"$STATE/sums"
    for i in $(seq "$READERS"); do
        names+=("reader$i")
        read_until_stopped "reader$i" direct_round "$STATE/sums" 256K 2>"$STATE/reader$i.log" &
        readers+=("reader$i:$!")
    done
    wait_for 120 "the readers' first round" more_rounds_than 0 "${names[@]}"
    for pod in $(goosefs fs leader) $(fluid-controller get pods | awk '/^hbase-worker-/ { print $1 }'); do
        pid=$(pod_pid "$pod")
        before=$(most_rounds "${names[@]}")
        say "killing $pod"
        kill -KILL "$pid"
        wait_for 60 "$pod to run again" pod_restarted "$pod" "$pid"
        wait_for 120 "another round of each reader" more_rounds_than "$before" "${names[@]}"
    done
    end_readers "${readers[@]}" >&2
    cat "$STATE"/reader*.log >&2
    figure survival kill_cluster_errors "$READERS_ERRORS" count
}

whole_stack() {
    need_fio
    use_binaries build/release/bin
    STATE=$(mktemp -d /tmp/goosefs-bench-XXXXXX)
    make_mirror "$STATE/origin/hbase" 4
    noise 1 $((FILE_MB << 20)) >"$STATE/origin/hbase/large.bin"
    start_web "$STATE/origin" "$STATE/web"
    METRICS_PORT=$(free_port)
    sed "s|\(mountPoint:\) .*|\1 http://127.0.0.1:$WEB_PORT/hbase/|" deploy/samples/dataset.yaml >"$STATE/dataset.yaml"
    cat >"$STATE/runtime.yaml" <<YAML
apiVersion: data.fluid.io/v1alpha1
kind: GooseFSRuntime
metadata:
  name: hbase
spec:
  replicas: 2
  tieredstore:
    levels:
      - mediumtype: HDD
        path: /mnt/disk1
        quota: $((FILE_MB * 2))Mi
        high: "0.9"
        low: "0.8"
  master:
    replicas: 3
  fuse:
    properties:
      goosefs.fuse.web.address: 127.0.0.1:$METRICS_PORT
YAML
    start_platform >&2
    fluid-controller apply -f "$STATE/dataset.yaml" -f "$STATE/runtime.yaml" >&2
    mount_volume
    native_ratios
    kill_cluster
    figure survival goosefs_fuse_rss_mb \
        "$(rss_mb "$(pod_pid "$(fluid-controller get pods | awk '/^hbase-fuse-/ { print $1; exit }')")")" MiB
    cleanup
}

# figures_of PROGRAM: a googletest program that writes "NAME VALUE UNIT" lines.
figures_of() {
    local out name value unit
    out=$(mktemp)
    SURVIVAL_BENCH_OUT=$out "build/release/test/$1" >&2
    while read -r name value unit; do
        figure survival "$name" "$value" "$unit"
    done <"$out"
    rm -f "$out"
}

main() {
    build release programs
    build release survival_bench survival_csi_bench
    trap cleanup EXIT
    figures_of survival_bench
    figures_of survival_csi_bench
    whole_stack
}

main
