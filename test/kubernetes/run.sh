#!/usr/bin/env bash
# The product on a real Kubernetes of three nodes on this machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
. script/lib/common.sh
. script/lib/mirror.sh
. test/kubernetes/binaries.sh
. test/kubernetes/lib.sh
. test/kubernetes/readers.sh
for file in test/kubernetes/cases/*.sh; do
    . "$file"
done

# In this order: readers of the first go on through the next ones, the walk-throughs begin empty.
CASES=(document faults upgrade apiserver node lost objects scaling affinity toleration sharing root clients demand)

LIMIT=$((${GFS_KUBERNETES_MINUTES:-1440} * 60))

usage() {
    cat <<TEXT
Usage: test/kubernetes/run.sh [--keep] [CASE...] | --down
Start a Kubernetes of three nodes, run the cases (default: all), print "N passed, N failed".

  --keep    leave the cluster and what runs in it for the next run.sh --keep
  --down    end a cluster that was kept
Cases: ${CASES[*]}
Environment: GFS_BIN                 directory of the programs to put into the image [build/release/bin, built]
             GFS_KUBERNETES_MINUTES  no case begins later; what is left out is said [all the time]
TEXT
}

prepare() {
    kubernetes_binaries || exit 0
    if [ -z "${GFS_BIN:-}" ]; then
        build release programs
        GFS_BIN=build/release/bin
    fi
}

run_case() {
    say "case $1"
    "case_$1" || { FAILED=$((FAILED + 1)); echo "FAILED  case $1 ended early"; }
}

# One that fails is run once more from nothing, and counts then: the processors are shared with others.
run_or_repeat() {
    local passed=$PASSED failed=$FAILED
    run_case "$1"
    [ $FAILED != $failed ] || return 0
    PASSED=$passed FAILED=$failed
    say "once more"
    clean_slate || echo "something of the first time is left"
    run_case "$1"
}

main() {
    local name cases=() down=false
    KEEP=false
    for name in "$@"; do
        case $name in
        --keep) KEEP=true ;;
        --down) KEEP=true down=true ;;
        --help | -h) usage; exit 0 ;;
        *)
            [[ " ${CASES[*]} " = *" $name "* ]] || { usage >&2; exit 2; }
            cases+=("$name")
            ;;
        esac
    done
    [ "$(id -u)" = 0 ] || { echo "skipped: a cluster on this machine needs root"; exit 0; }
    unshare --mount --net --pid --fork true 2>/dev/null || { echo "skipped: no namespaces on this machine"; exit 0; }

    if $KEEP; then
        WORK=${TMPDIR:-/tmp}/goosefs-kubernetes
        mkdir -p "$WORK"
    else
        WORK=$(mktemp -d "${TMPDIR:-/tmp}/goosefs-kubernetes-XXXXXX")
    fi
    export LAB_DIR=$WORK/lab
    if $down; then
        take_down
        exit
    fi

    prepare
    trap finish EXIT
    trap 'exit 130' INT TERM
    bring_up || { echo "skipped: the cluster does not start on this machine"; exit 0; }
    for name in "${cases[@]:-${CASES[@]}}"; do
        if [ $SECONDS -gt $LIMIT ]; then
            echo "skipped: case $name, $((LIMIT / 60)) minutes are over"
            continue
        fi
        run_or_repeat "$name"
    done
    echo "$PASSED passed, $FAILED failed"
    [ $FAILED = 0 ]
}

main "$@"
