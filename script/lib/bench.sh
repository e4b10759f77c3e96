# What benchmarks share: figures as JSON lines, memory of a process. Sourced, not run.
# shellcheck shell=bash

# figure BENCH NAME VALUE UNIT [PEER PEER_VALUE]
figure() {
    if [ $# -eq 6 ]; then
        awk -v b="$1" -v n="$2" -v v="$3" -v u="$4" -v p="$5" -v pv="$6" 'BEGIN {
            printf "{\"bench\":\"%s\",\"name\":\"%s\",\"value\":%g,\"unit\":\"%s\",\"peer\":\"%s\",\"peer_value\":%g,\"ratio\":%.3f}\n",
                b, n, v, u, p, pv, pv == 0 ? 0 : v / pv }'
    else
        awk -v b="$1" -v n="$2" -v v="$3" -v u="$4" 'BEGIN {
            printf "{\"bench\":\"%s\",\"name\":\"%s\",\"value\":%g,\"unit\":\"%s\"}\n", b, n, v, u }'
    fi
}

# rss_mb PID: resident memory in MiB.
rss_mb() {
    awk '/^VmRSS:/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"
}

# median of the numbers on stdin, one per line.
median() {
    sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# figures_of BENCH VARIABLE PROGRAM: runs it; what it writes into the file that VARIABLE names, lines of "name
# value unit", are the figures.
figures_of() {
    local name value unit
    FIGURES=$(mktemp)
    trap 'rm -f "$FIGURES"' EXIT
    env "$2=$FIGURES" "$3" >&2
    while read -r name value unit; do
        figure "$1" "$name" "$value" "$unit"
    done <"$FIGURES"
}
