#!/usr/bin/env bash
# bench: Raft beside etcd: failover, handover, writes and reads a second, latency of one write
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh

# RAFT_BENCH_QUICK=1: fewer rounds, about two minutes. RAFT_BENCH_ETCD=/usr/bin/etcd: another etcd.
QUICK=${RAFT_BENCH_QUICK:-}
ETCD=${RAFT_BENCH_ETCD:-etcd}
ROUNDS=${RAFT_BENCH_ROUNDS:-$([ -n "$QUICK" ] && echo 20 || echo 50)}
ETCD_ROUNDS=${RAFT_BENCH_ETCD_ROUNDS:-$([ -n "$QUICK" ] && echo 5 || echo 20)}
RUNS=$([ -n "$QUICK" ] && echo 1 || echo 3)
SECONDS_EACH=$([ -n "$QUICK" ] && echo 3 || echo 10)
CALM_SECONDS=${RAFT_BENCH_CALM_SECONDS:-$([ -n "$QUICK" ] && echo 20 || echo 600)}
WRITES=$([ -n "$QUICK" ] && echo 300 || echo 2000)
BIN=build/release/test
STATE=

# On the disk of the working tree: both write their logs there, and the flush is measured there.
cleanup() {
    rm -rf --one-file-system "$STATE"
}

# free_ports: the first of six neighbours nobody listens on.
free_ports() {
    local base offset
    for base in $(shuf -i 20000-32000 -n 50); do
        for offset in 0 1 2 3 4 5; do
            if (exec 3<>"/dev/tcp/127.0.0.1/$((base + offset))") 2>/dev/null; then
                continue 2
            fi
        done
        echo "$base"
        return 0
    done
    fail "no six free ports between 20000 and 32000"
}

# measure ours|etcd WHAT [OPTION...]: its "name value" lines go to $STATE/WHO-WHAT.
measure() {
    local who=$1 what=$2 dir=$STATE/data
    shift 2
    say "$who: $what"
    rm -rf --one-file-system "$dir"
    mkdir "$dir"
    if [ "$who" = etcd ]; then
        set -- --etcd=true --binary="$ETCD" "$@"
    else
        set -- --binary="$BIN/raft_bench_node" "$@"
    fi
    "$BIN/raft_bench_client" --dir="$dir" --base-port="$(free_ports)" "$@" "$what" \
        | tee -a "$STATE/$who-$what" >&2
}

# value WHO WHAT NAME: median over the runs.
value() {
    awk -v name="$3" '$1 == name { print $2 }' "$STATE/$1-$2" | median
}

both() {
    figure raft "$1" "$(value ours "$2" "$3")" "$4" etcd "$(value etcd "$2" "$3")"
}

main() {
    local run what
    if ! command -v "$ETCD" >/dev/null; then
        say "installing etcd-server to compare with"
        quietly apt-get install -y --no-install-recommends etcd-server
    fi
    build release raft_bench_node raft_bench_client
    mkdir -p build
    STATE=$(mktemp -d build/raft-bench-XXXXXX)
    trap cleanup EXIT

    for run in $(seq "$RUNS"); do
        say "run $run of $RUNS"
        measure ours load --seconds="$SECONDS_EACH"
        measure etcd load --seconds="$SECONDS_EACH"
        measure ours latency --rounds="$WRITES"
        measure etcd latency --rounds="$WRITES"
    done
    for what in stop kill handover; do
        measure ours "$what" --rounds="$ROUNDS"
        measure etcd "$what" --rounds="$ETCD_ROUNDS"
    done
    measure ours calm --seconds="$CALM_SECONDS"

    both failover_kill_ms_p50 stop p50 ms
    both failover_kill_ms_max stop max ms
    both failover_hint_ms_p50 kill p50 ms
    both handover_ms_p50 handover p50 ms
    figure raft handover_failed_calls "$(value ours handover failed)" calls
    both writes_per_s load writes_per_s 1/s
    both reads_per_s load reads_per_s 1/s
    both write_cpu_us load write_cpu_us us
    both read_cpu_us load read_cpu_us us
    both write_us latency write_us us
    both write_latency_ratio latency write_latency_ratio ratio
    figure raft flush_us "$(value ours latency flush_us)" us
    figure raft round_trip_us "$(value ours latency round_trip_us)" us
    figure raft false_elections "$(value ours calm false_elections)" elections
}

main
