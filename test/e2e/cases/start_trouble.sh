# What keeps the platform from starting is said with what to do about it.
# shellcheck shell=bash

run_platform() {
    fluid-controller run --platform=local --state-dir="$STATE/node" --mount-root="$STATE/runtime-mnt" \
        --kubelet-root="$STATE/kubelet"
}
mkdir -p "$STATE/kubelet/pods" "$STATE/kubelet/plugins"

refuse setpriv --reuid=65534 --regid=65534 --clear-groups -- fluid-controller run --platform=local --state-dir="$STATE/other"
expect_text "$STATE/output" "root"

: >"$STATE/no-device"
refuse unshare --mount -- bash -c "mount --bind $STATE/no-device /dev/fuse && exec fluid-controller run --platform=local --state-dir=$STATE/node --mount-root=$STATE/runtime-mnt --kubelet-root=$STATE/kubelet"
expect_text "$STATE/output" "/dev/fuse"

start_platform
refuse run_platform
expect_text "$STATE/output" "$STATE/node"
stop_platform

version=$(find "$STATE/node" -maxdepth 1 -iname '*version*' | head -n 1)
expect "the state directory has a version file" test -n "$version"
echo 999 >"$version"
refuse run_platform
expect_text "$STATE/output" "$STATE/node"
expect_text "$STATE/output" "version"
