# Results, waiting, the cluster's begin and end. Sourced by run.sh, not run.
# shellcheck shell=bash

LAB=test/kubernetes/lab/lab
ORIGIN=http://10.99.0.1:8000
PASSED=0
FAILED=0

k() {
    "$LAB" kubectl "$@"
}

# check NAME COMMAND...: one result line; a failure does not end the run.
check() {
    local name=$1 log=$WORK/check.log
    shift
    if ("$@") >"$log" 2>&1; then
        PASSED=$((PASSED + 1))
        echo "ok      $name"
    else
        FAILED=$((FAILED + 1))
        echo "FAILED  $name"
        sed 's/^/        /' "$log" | tail -n 30
    fi
}

# eventually SECONDS COMMAND...: a limit, not a pause.
eventually() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$deadline" ] || return 1
        sleep 0.5
    done
}

# same EXPECTED ACTUAL: as text, blanks at line ends and their number aside.
same() {
    diff <(sed -E 's/[ \t]+/ /g; s/ $//' <<<"$1") <(sed -E 's/[ \t]+/ /g; s/ $//' <<<"$2")
}

show() {
    printf '\n$ kubectl %s\n' "$*"
    k "$@"
}

# ---- the cluster ----

finish() {
    local status=$?
    trap - EXIT INT TERM
    if $KEEP; then
        say "kept in $WORK: run.sh --keep CASE... goes on with it, run.sh --down ends it;" \
            "LAB_DIR=$LAB_DIR $LAB kubectl ... looks into it"
    else
        take_down || status=1
    fi
    exit $status
}

take_down() {
    local pid
    if read -r pid 2>/dev/null <"$WORK/web.pid" && grep -qF "$WORK/www" "/proc/$pid/cmdline" 2>/dev/null; then
        kill "$pid"
    fi
    "$LAB" down wipe >"$WORK/down.log" 2>&1 || { cat "$WORK/down.log" >&2; return 1; }
    rm -rf --one-file-system "$WORK"
    rmdir --ignore-fail-on-non-empty /runtime-mnt /etc/kubernetes 2>/dev/null || true
}

# The kubelet's identity where a node made by kubeadm has it.
give_identity() {
    k config view --kubeconfig="$LAB_DIR/node$1/kubelet.kubeconfig" --flatten --raw |
        "$LAB" node "$1" bash -c 'umask 077; cat >/etc/kubernetes/kubelet.conf'
}

start_origin() {
    say "generating the origin"
    make_mirror "$WORK/www/apache/hbase/stable" 40
    mkdir -p "$WORK/www/apache/spark/spark-2.4.8"
    noise 11 $((9 << 20)) >"$WORK/www/apache/spark/spark-2.4.8/spark-2.4.8.tgz"
    noise 12 $((3 << 20)) >"$WORK/www/apache/spark/spark-3.1.2.tgz"
    "$LAB" control setsid bash -c 'echo $$ >"$1"; exec python3 -m http.server 8000 --bind 10.99.0.1 --directory "$2"' \
        - "$WORK/web.pid" "$WORK/www" >"$WORK/www.log" 2>&1 &
    (cd "$WORK/www/apache/hbase/stable" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$WORK/sums"
    sed "s|\(mountPoint:\) .*|\1 $ORIGIN/apache/hbase/stable/|" deploy/samples/dataset.yaml >"$WORK/dataset.yaml"
}

import_image() {
    say "importing the image"
    quietly deploy/image/build --bin "$GFS_BIN" --name goosefs.local/goosefs:latest "$WORK/image.tar"
    quietly "$LAB" image "$WORK/image.tar"
}

# The lab itself failing says nothing about us: the caller says skipped.
bring_up() {
    local n
    if "$LAB" status >/dev/null 2>&1 && [ -e "$WORK/up" ]; then
        return 0
    fi
    say "starting three nodes"
    mkdir -p /runtime-mnt /etc/kubernetes # nodes have their own on them
    if ! "$LAB" up 3 >"$WORK/up.log" 2>&1; then
        tail -n 20 "$WORK/up.log" >&2
        return 1
    fi
    for n in 1 2 3; do
        give_identity "$n"
    done
    import_image
    start_origin
    : >"$WORK/up"
}

# ---- what every case needs ----

install_fluid() {
    k apply -f deploy/crds
    k apply -f deploy/manifests/00-namespace.yaml
    k apply -f deploy/manifests/10-rbac.yaml -f deploy/manifests/20-csi.yaml -f deploy/manifests/30-controllers.yaml
}

# The pods' names with what is random in them replaced, as "NAME READY STATUS RESTARTS".
pods() {
    k get pod --no-headers "$@" | awk '{print $1, $2, $3, $4}' |
        sed -E 's/-[a-z0-9]{8,10}-[a-z0-9]{5} /-X /; s/^(.*-(fuse|worker|fluid))-[a-z0-9]{5} /\1-X /'
}

system_ready() {
    [ "$(k get pods -n fluid-system --no-headers | awk '$2 == "1/1" || $2 == "2/2"' | wc -l)" = 5 ]
}

need_fluid() {
    k get deployment -n fluid-system goosefsruntime-controller >/dev/null 2>&1 && return 0
    install_fluid >"$WORK/install.log"
    eventually 180 system_ready
}

# No data set, no user of one, nothing of them left: where each walk-through begins.
clean_slate() {
    need_fluid
    k delete statefulset,pod -l test --all-namespaces --wait=true --timeout=120s >/dev/null
    k delete goosefsruntime,dataset --all --all-namespaces --wait=false >/dev/null
    eventually 120 everything_gone
    k label node --all hbase-cache- fluid- >/dev/null
    k taint node --all hbase- >/dev/null 2>&1 || true
}

everything_gone() {
    [ -z "$(k get dataset,goosefsruntime,statefulset,replicaset,daemonset,pvc,pdb,configmap -A -l fluid.io/managed-by=fluid -o name; k get dataset,goosefsruntime,pvc -A -o name; k get pv -o name; k get service,pod -A -l app=goosefs -o name)" ]
}

phases() {
    k get goosefsruntime "$1" -o 'jsonpath={.status.masterPhase} {.status.workerPhase} {.status.fusePhase}'
}

# wide NAME COLUMNS: ready and wanted masters, their phase, the same of workers and of fuses.
wide() {
    local columns
    columns=$(k get goosefsruntime "$1" -o wide --no-headers | awk '{print $2, $3, $4, $5, $6, $7, $8, $9, $10}')
    echo "$columns"
    [ "$columns" = "$2" ]
}

# dataset_row NAME COLUMNS: total size, cached, capacity, percentage, phase.
dataset_row() {
    local columns
    columns=$(k get dataset "$1" --no-headers | awk '{print $2, $3, $4, $5, $6}')
    echo "$columns"
    [ "$columns" = "$2" ]
}

phase_of() {
    [ "$(k get dataset "$1" -o 'jsonpath={.status.phase}')" = "$2" ]
}

# The size of all files below a directory of the origin, as a Dataset shows it.
total_of() {
    find "$WORK/www/apache/$1" -type f -printf '%s\n' | awk '{n += $1} END {printf "%.2fMiB", n / 1048576}'
}
