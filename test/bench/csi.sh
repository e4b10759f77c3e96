#!/usr/bin/env bash
# bench: the CSI node plugin: memory, a publish, 400 unpublishes, ready again with 200 volumes
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh

main() {
    local name value unit
    build release csi_bench
    OUT=$(mktemp)
    trap 'rm -f "$OUT"' EXIT
    CSI_BENCH_OUT=$OUT build/release/test/csi_bench >&2
    while read -r name value unit; do
        figure csi "$name" "$value" "$unit"
    done <"$OUT"
}

main
