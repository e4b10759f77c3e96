#!/usr/bin/env bash
# bench: errors and pauses that readers see when the client or the keeper of a mount dies or hangs
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh

main() {
    local out name value unit
    build release survival_bench
    out=$(mktemp)
    trap 'rm -f "$out"' EXIT
    SURVIVAL_BENCH_OUT=$out build/release/test/survival_bench "$@" >&2
    while read -r name value unit; do
        figure survival "$name" "$value" "$unit"
    done <"$out"
}

main
