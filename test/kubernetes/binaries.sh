# The programs a cluster on this machine needs, built or found. Sourced, not run.
# shellcheck shell=bash
#
# Kubernetes itself is built from its Go module, once, and kept outside the tree; etcd, containerd,
# runc and the CNI plugins come from Debian. kubernetes_binaries sets what the lab reads (KUBE_BIN,
# KUBECTL) or says why not and returns 1.

KUBE_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)
KUBE_PACKAGES=(etcd-server containerd runc containernetworking-plugins busybox iptables conntrack python3 openssl iproute2
    procps curl)
BUILD_SECONDS=${GFS_KUBERNETES_BUILD_SECONDS:-2700}

kube_version() {
    awk '$1 == "require" && $2 == "k8s.io/kubernetes" {print $3} $1 == "k8s.io/kubernetes" {print $2}' test/kubernetes/go.mod | head -n 1
}

# Go as new as go.mod asks for: what is installed, or what the installed one fetches as a module.
have_go() {
    command -v go >/dev/null || return 1
    (cd test/kubernetes && go list -m >/dev/null 2>&1) && return 0
    export GOTOOLCHAIN=auto
    (cd test/kubernetes && go list -m >/dev/null 2>&1)
}

# Debian's, of the newest suite the machine knows; 1.21 and later can fetch the one go.mod asks for.
install_go() {
    local suite=()
    command -v go >/dev/null && return 0
    say "installing Go"
    export DEBIAN_FRONTEND=noninteractive
    if apt-cache policy 2>/dev/null | grep -q 'n=trixie'; then
        suite=(-t trixie)
    fi
    apt-get update >/dev/null 2>&1 && apt-get install -y --no-install-recommends "${suite[@]}" golang-go >/dev/null 2>&1
}

install_cluster_packages() {
    local name missing=()
    for name in "${KUBE_PACKAGES[@]}"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update >/dev/null 2>&1
    apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1
}

# Prints what it is at: this takes a quarter of an hour on two processors.
build_kubernetes() {
    local version=$1 out=$2 package=k8s.io/component-base/version minor program n=0 deadline
    minor=${version#v1.}
    deadline=$((SECONDS + BUILD_SECONDS))
    mkdir -p "$out.new"
    for program in "${KUBE_PROGRAMS[@]}"; do
        n=$((n + 1))
        say "building $program $version, $n of ${#KUBE_PROGRAMS[@]} (once, to $out)"
        [ $SECONDS -lt $deadline ] || return 1
        (cd test/kubernetes && CGO_ENABLED=0 timeout $((deadline - SECONDS)) go build -mod=readonly -trimpath \
            -ldflags "-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean" \
            -o "$out.new/" "k8s.io/kubernetes/cmd/$program") || return 1
    done
    rm -rf "$out"
    mv "$out.new" "$out"
}

kubernetes_binaries() {
    local version cache
    version=$(kube_version)
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/goosefs/kubernetes-$version
    if ! install_cluster_packages; then
        echo "skipped: Debian's packages for a cluster can't be installed: ${KUBE_PACKAGES[*]}"
        return 1
    fi
    if [ ! -x "$cache/kubectl" ]; then
        if ! { install_go && have_go; }; then
            echo "skipped: no Go that can build Kubernetes $version (test/kubernetes/go.mod says which)"
            return 1
        fi
        if ! build_kubernetes "$version" "$cache"; then
            echo "skipped: Kubernetes $version could not be built from its Go module within $BUILD_SECONDS s"
            return 1
        fi
    fi
    export KUBE_BIN=$cache KUBECTL=$cache/kubectl
}
