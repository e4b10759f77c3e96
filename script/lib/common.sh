# Shared by the scripts: messages, quiet commands, build steps. Sourced, not run.
# shellcheck shell=bash

JOBS=$(nproc)
export JOBS

say() {
    printf '==> %s\n' "$*" >&2
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a command, shows what it printed only when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        cat "$log" >&2
        rm -f "$log"
        fail "failed: $*"
    fi
    rm -f "$log"
}

# build PRESET [TARGET...]: configures once (with GFS_CMAKE_ARGS) and builds, with ninja's own progress
# on a terminal.
build() {
    local preset=$1
    shift
    if [ ! -f "build/$preset/build.ninja" ]; then
        say "configuring $preset"
        quietly cmake --preset "$preset" ${GFS_CMAKE_ARGS:-}
    fi
    say "building $preset"
    if [ -t 1 ]; then
        cmake --build --preset "$preset" -j "$JOBS" ${1:+--target "$@"} >&2
    else
        quietly cmake --build --preset "$preset" -j "$JOBS" ${1:+--target "$@"}
    fi
}

now_ms() {
    local us=${EPOCHREALTIME/[.,]/}
    echo $((us / 1000))
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; a limit, not a pause.
wait_for() {
    local limit=$1 what=$2 deadline
    shift 2
    deadline=$(($(now_ms) + limit * 1000))
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$deadline" ] || fail "gave up after $limit s waiting for $what"
        sleep 0.02
    done
}

# free_port: a TCP port of 127.0.0.1 on which nobody listens now.
free_port() {
    local port
    for port in $(shuf -i 20000-32000 -n 50); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    fail "no free port between 20000 and 32000"
}
