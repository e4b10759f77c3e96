# One node with the local platform: start, mount a volume as kubelet would, stop. Sourced, not run.
# Uses STATE (absolute directory); sets CONTROLLER_PID, TARGET, STAGING.
# shellcheck shell=bash

VOLUME=default-hbase
POD_UID=0c0ffee0-0000-4000-8000-000000000001
CONTROLLER_PID=
TARGET=
STAGING=

use_binaries() {
    PATH=$(cd "$1" && pwd):$PATH
    export PATH
}

kubelet_root() {
    echo "$STATE/kubelet"
}

start_platform() {
    mkdir -p "$(kubelet_root)/pods" "$(kubelet_root)/plugins"
    fluid-controller run --platform=local --state-dir="$STATE/node" \
        --mount-root="$STATE/runtime-mnt" --kubelet-root="$(kubelet_root)" \
        2>"$STATE/fluid-controller.log" &
    CONTROLLER_PID=$!
    export FLUID_CONTROLLER_SOCKET="$STATE/node/control.sock"
    if ! fluid-controller wait --for=condition=Ready node --timeout=30s; then
        cat "$STATE/fluid-controller.log" >&2
        fail "the controllers did not start"
    fi
    export GOOSEFS_CONF_DIR="$STATE/runtime-mnt/goosefs/default/hbase/conf"
}

stop_platform() {
    local status=0
    [ -n "$CONTROLLER_PID" ] || return 0
    kill -TERM "$CONTROLLER_PID" 2>/dev/null || true
    wait "$CONTROLLER_PID" || status=$?
    CONTROLLER_PID=
    [ $status -eq 0 ] || say "fluid-controller ended with status $status (log: $STATE/fluid-controller.log)"
    return $status
}

csi() {
    csictl --endpoint="unix://$STATE/node/csi/csi.sock" "$@"
}

# Repeats a call while the answer is one of those that kubelet takes for "again, please".
csi_retried() {
    local deadline status
    deadline=$(($(now_ms) + 60000))
    while :; do
        status=0
        csi "$@" >/dev/null 2>"$STATE/csictl.err" || status=$?
        case $status in
        0) return 0 ;;
        11 | 14 | 18 | 20 | 24) [ "$(now_ms)" -lt "$deadline" ] && sleep 0.05 && continue ;;
        esac
        cat "$STATE/csictl.err" >&2
        return "$status"
    done
}

# kubelet's paths: reference of the volume manager, plugins/kubernetes.io/csi/DRIVER/HASH/globalmount.
mount_volume() {
    local hash attributes=(
        --access-mode=ROX
        --attr "fluid_path=$STATE/runtime-mnt/goosefs/default/hbase/goosefs-fuse"
        --attr mount_type=fuse.goosefs-fuse
        --attr runtime_name=hbase
        --attr runtime_namespace=default
    )
    hash=$(printf %s "$VOLUME" | sha256sum | cut -d' ' -f1)
    STAGING="$(kubelet_root)/plugins/kubernetes.io/csi/fuse.csi.fluid.io/$hash/globalmount"
    TARGET="$(kubelet_root)/pods/$POD_UID/volumes/kubernetes.io~csi/$VOLUME/mount"
    mkdir -p "$STAGING" "$(dirname "$TARGET")"
    csi_retried node stage --volume-id="$VOLUME" --staging-path="$STAGING" "${attributes[@]}"
    csi_retried node publish --volume-id="$VOLUME" --staging-path="$STAGING" --target-path="$TARGET" --readonly \
        "${attributes[@]}"
}

unmount_volume() {
    [ -n "$TARGET" ] || return 0
    csi node unpublish --volume-id="$VOLUME" --target-path="$TARGET" >/dev/null || return 1
    csi node unstage --volume-id="$VOLUME" --staging-path="$STAGING" >/dev/null || return 1
    TARGET=
}

pod_pid() {
    fluid-controller get pods -o wide | awk -v pod="$1" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == "PID") column = i }
        $1 == pod { print $column }'
}

# pod_restarted POD OLD-PID: whether the pod has another live process by now.
pod_restarted() {
    local pid
    pid=$(pod_pid "$1") && [ -n "$pid" ] && [ "$pid" != "$2" ] && [ "$pid" != "-" ] && kill -0 "$pid"
}
