#!/usr/bin/env bash
# What is deployed, checked without a cluster and without a container engine.
# Usage: test/deploy/check.sh [--render]
#   --render    also: Go's templates, which helm uses, make the same manifests of the chart
set -euo pipefail
cd "$(dirname "$0")/../.."

FAILED=0
RENDER=false

bad() {
    echo "FAILED  $*" >&2
    FAILED=1
}

# same WHAT LIST1 LIST2
same() {
    diff <(sort <<<"$2") <(sort <<<"$3") >&2 || bad "$1"
}

generated() {
    deploy/generate --check >&2 || bad "deploy/manifests is not what deploy/generate makes"
}

# Each program of the build is in the image, and nothing else.
programs() {
    same "deploy/image/programs and the programs of the build differ" "$(cat deploy/image/programs)" \
        "$(git grep -h -o 'gfs_program([a-z-]*' -- '*CMakeLists.txt' | cut -d'(' -f2)"
}

# The image is built from what this machine builds from.
packages() {
    local setup list
    setup=$(sed -n '/^PACKAGES=(/,/^)/p; /^FUSE_PACKAGES=/p' script/setup | grep -v '#' | grep -oE '[a-z][a-z0-9.+-]+')
    while read -r list; do
        grep -qxF -- "$list" <<<"$setup" || bad "deploy/image/packages-build has $list, script/setup has not"
    done <deploy/image/packages-build
    while read -r list; do
        grep -qxF -- "$list" deploy/image/packages-build || bad "script/setup has $list, deploy/image/packages-build has not"
    done < <(grep -E -- '-dev$' <<<"$setup")
    for list in deploy/image/packages-build deploy/image/packages-run deploy/image/programs; do
        LC_ALL=C sort -uc "$list" || bad "$list is not sorted, or has something twice"
    done
}

dockerfile() {
    local source base
    while read -r base; do
        [[ $base =~ ^[a-z/.]+:[0-9a-z.-]+$ && $base != *:latest ]] || bad "Dockerfile: base $base names no version"
    done < <(awk '$1 == "FROM" {print $2}' Dockerfile)
    for source in $(awk '$1 == "COPY" && $2 !~ /^--from/ {print $2}' Dockerfile); do
        [ -e "$source" ] || bad "Dockerfile: COPY of $source, which is not there"
    done
    # One layer for a list and what is installed from it, and nothing of apt left in it.
    awk '/^RUN/ {run = ""} {run = run $0} /[^\\]$/ && run ~ /^RUN/ {print run; run = ""}' Dockerfile |
        grep 'apt-get' | while read -r run; do
        [[ $run == *"apt-get update"* && $run == *--no-install-recommends* && $run == *"rm -rf /var/lib/apt/lists"* ]] || echo "$run"
    done | grep . >&2 && bad "Dockerfile: apt-get without update, --no-install-recommends or removal of lists"
    return 0
}

# render [VALUE...]: the chart as Go's templates see it.
render() {
    deploy/generate --values | go run test/deploy/render.go deploy/chart/fluid fluid-system "$@"
}

rendered() {
    command -v go >/dev/null || { echo "no go: chart not rendered"; return 0; }
    diff -u <(for f in deploy/manifests/[0-9]*.yaml; do sed '1d' "$f"; done | sed '1,/^---$/d') <(render) >&2 ||
        bad "the chart rendered by Go's templates is not deploy/manifests"
    [ "$(render launchMode=pod csi.updateStrategy=RollingUpdate | grep -cE -- '--launch-mode=pod|type: RollingUpdate')" = 3 ] ||
        bad "the chart does not take launchMode=pod"
}

while [ $# -gt 0 ]; do
    case "$1" in
    --render) RENDER=true ;;
    *) sed -n '2,4p' "$0"; exit 2 ;;
    esac
    shift
done
generated
programs
packages
dockerfile
if $RENDER; then
    rendered
fi
exit $FAILED
