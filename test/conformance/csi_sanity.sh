#!/usr/bin/env bash
# csi-sanity, Identity and Node services, against the plugin, with a stub controller for the cases that
# want volumes created. Exit status 77 (skipped) where there is neither csi-sanity nor Go.
#   usage: csi_sanity.sh BIN_DIR TEST_DIR
set -euo pipefail

VERSION=v5.5.0
BIN=$(cd "$1" && pwd)
TEST=$(cd "$2" && pwd)

skip() {
    echo "skipped: $*"
    exit 77
}

# $CSI_SANITY, one in the PATH, or built from its module into a directory that stays for the next run.
find_sanity() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/goosefs-csi-sanity-$VERSION
    if [ -n "${CSI_SANITY:-}" ]; then
        echo "$CSI_SANITY"
    elif command -v csi-sanity >/dev/null; then
        command -v csi-sanity
    elif [ -x "$cache/csi-sanity" ]; then
        echo "$cache/csi-sanity"
    elif command -v go >/dev/null; then
        mkdir -p "$cache"
        GOBIN=$cache timeout 900 go install "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@$VERSION" >&2 || return 1
        echo "$cache/csi-sanity"
    else
        return 1
    fi
}

if [ "$(id -u)" != 0 ]; then
    skip "mounting needs root"
fi
if [ -z "${IN_NAMESPACE:-}" ]; then
    SANITY=$(find_sanity) || skip "csi-sanity is not here and cannot be built"
    export SANITY
    IN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$BIN" "$TEST"
fi

DIR=$(mktemp -d /tmp/gfs-csi-sanity-XXXXXX)
PIDS=()
cleanup() {
    local pid
    for pid in "${PIDS[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" || true
    done
    umount -R -l "$DIR/runtime-mnt/goosefs/default/sanity/goosefs-fuse" 2>/dev/null || true
    rm -rf --one-file-system "$DIR"
}
trap cleanup EXIT

FLUID_PATH=$DIR/runtime-mnt/goosefs/default/sanity/goosefs-fuse
mkdir -p "$FLUID_PATH" "$DIR/kubelet/pods" "$DIR/kubelet/plugins"
mount -t tmpfs tmpfs "$FLUID_PATH"
printf 'fluid_path: %s\nmount_type: tmpfs\n' "$FLUID_PATH" >"$DIR/parameters.yaml"

"$BIN/csi-nodeplugin-fluid" start --nodeid=sanity --endpoint="unix://$DIR/csi.sock" \
    --kubelet-root="$DIR/kubelet" --mount-root="$DIR/runtime-mnt" --state-dir="$DIR/state" \
    --launch-mode=pod --keeper-socket= --no-registrar 2>"$DIR/plugin.log" &
PIDS+=($!)
"$TEST/csi_controller_stub" "unix://$DIR/controller.sock" &
PIDS+=($!)

# csi-sanity asks the controller endpoint for identity when it has one, so that part runs without.
run() {
    if ! "$SANITY" --csi.endpoint="unix://$DIR/csi.sock" --csi.mountdir="$DIR/kubelet/pods/sanity" \
        --csi.stagingdir="$DIR/kubelet/plugins/sanity" \
        --csi.testvolumeparameters="$DIR/parameters.yaml" --ginkgo.no-color "$@"; then
        cat "$DIR/plugin.log" >&2
        exit 1
    fi
}

run --ginkgo.focus='Identity Service'
run --ginkgo.focus='Node Service' --csi.controllerendpoint="unix://$DIR/controller.sock"
if grep -q " $DIR/kubelet" /proc/self/mountinfo; then
    echo "csi-sanity left mounts behind" >&2
    exit 1
fi
