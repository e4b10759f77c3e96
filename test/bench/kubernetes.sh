#!/usr/bin/env bash
# bench: the controllers with 300 data sets: requests of a creation, requests a minute at rest, memory
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh

main() {
    local out name value unit
    build release kubernetes_bench
    out=$(mktemp)
    trap 'rm -f "$out"' EXIT
    KUBERNETES_BENCH_OUT=$out build/release/test/kubernetes_bench >&2
    while read -r name value unit; do
        figure kubernetes "$name" "$value" "$unit"
    done <"$out"
}

main
