#!/usr/bin/env bash
# bench: the CSI node plugin: memory, a publish, 400 unpublishes, ready again with 200 volumes
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh

build release csi_bench
figures_of csi CSI_BENCH_OUT build/release/test/csi_bench
