#!/usr/bin/env bash
# bench: the controllers with 300 data sets: requests of a creation, requests a minute at rest, memory
set -euo pipefail
. script/lib/common.sh
. script/lib/bench.sh

build release kubernetes_bench
figures_of kubernetes KUBERNETES_BENCH_OUT build/release/test/kubernetes_bench
