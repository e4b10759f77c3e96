#!/usr/bin/env bash
# The multi-master deployment guide on a real Kubernetes of three nodes: its commands in its order, its output,
# then readers on every node while things are deleted under them, then deletion.
# Usage: test/kubernetes/run.sh [--keep]     --keep leaves the cluster for a look
# Environment: GFS_BIN  directory of the programs to put into the image [build/release/bin, built]
set -euo pipefail
cd "$(dirname "$0")/../.."
. script/lib/common.sh
. script/lib/mirror.sh
. test/kubernetes/binaries.sh

LAB=test/kubernetes/lab/lab
ORIGIN_PORT=8000
WORK=
WEB_PID=
KEEP=false
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

# ---- the cluster ----

finish() {
    local status=$?
    trap - EXIT INT TERM
    if [ -n "$WEB_PID" ]; then
        kill -- "-$WEB_PID" 2>/dev/null || true
    fi
    if $KEEP; then
        say "kept: LAB_DIR=$LAB_DIR KUBE_BIN=$KUBE_BIN KUBECTL=$KUBECTL $LAB; end it with 'down wipe'"
    else
        "$LAB" down wipe >/dev/null 2>&1 || status=1
        rm -rf --one-file-system "$WORK"
    fi
    exit $status
}

bring_up() {
    local n
    say "starting three nodes"
    quietly "$LAB" up 3
    # Of a lab's node, what is below / is the machine's: give each its own.
    for n in 1 2 3; do
        "$LAB" node "$n" bash -c 'mkdir -p /runtime-mnt /var/lib/runtime-mnt && mount --bind /var/lib/runtime-mnt /runtime-mnt'
    done
    say "importing the image"
    quietly deploy/image/build --bin "$GFS_BIN" --name goosefs.local/goosefs:latest "$WORK/image.tar"
    quietly "$LAB" image "$WORK/image.tar"
    say "generating the origin"
    make_mirror "$WORK/www/apache/hbase/stable" 40
    setsid "$LAB" control python3 -m http.server "$ORIGIN_PORT" --bind 10.99.0.1 --directory "$WORK/www" \
        >"$WORK/www.log" 2>&1 &
    WEB_PID=$!
    (cd "$WORK/www/apache/hbase/stable" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$WORK/sums"
    sed "s|\(mountPoint:\) .*|\1 http://10.99.0.1:$ORIGIN_PORT/apache/hbase/stable/|" \
        deploy/samples/dataset.yaml >"$WORK/dataset.yaml"
}

# ---- the document ----

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

system_pods() {
    same "csi-nodeplugin-fluid-X 2/2 Running 0
csi-nodeplugin-fluid-X 2/2 Running 0
csi-nodeplugin-fluid-X 2/2 Running 0
dataset-controller-X 1/1 Running 0
goosefsruntime-controller-X 1/1 Running 0" "$(pods -n fluid-system)"
}

three_nodes() {
    [ "$(k get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = 3 ]
}

create_dataset() {
    same "dataset.data.fluid.io/hbase created" "$(k create -f "$WORK/dataset.yaml")"
}

create_runtime() {
    same "goosefsruntime.data.fluid.io/hbase created" "$(k create -f deploy/samples/runtime.yaml)"
}

runtime_pods() {
    same "hbase-fuse-X 1/1 Running 0
hbase-fuse-X 1/1 Running 0
hbase-fuse-X 1/1 Running 0
hbase-master-0 1/1 Running 0
hbase-master-1 1/1 Running 0
hbase-master-2 1/1 Running 0
hbase-worker-X 1/1 Running 0
hbase-worker-X 1/1 Running 0
hbase-worker-X 1/1 Running 0" "$(pods)"
}

runtime_table() {
    same "NAME MASTER PHASE WORKER PHASE FUSE PHASE AGE
hbase Ready Ready Ready AGE" "$(k get goosefsruntime hbase | sed -E '2s/[^ ]+$/AGE/')"
}

bound() {
    [ "$(k get dataset hbase -o 'jsonpath={.status.phase}')" = Bound ]
}

sized() {
    [ "$(k get dataset hbase -o 'jsonpath={.status.fileNum}')" = "$(wc -l <"$WORK/sums")" ]
}

# As typed into the shell that `kubectl exec -ti hbase-master-0 -- bash` opens.
master_info() {
    local out
    out=$(k exec -i hbase-master-0 -- bash <<<'goosefs fs masterInfo')
    echo "$out"
    grep -qE '^current leader master: hbase-master-[0-2]:26000$' <<<"$out"
    grep -qxF 'All masters: [hbase-master-0:26000, hbase-master-1:26000, hbase-master-2:26000]' <<<"$out"
}

workers_spread() {
    [ "$(k get pods -l role=goosefs-worker -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)" = 3 ]
}

even_masters_refused() {
    ! k patch goosefsruntime hbase --type merge -p '{"spec":{"master":{"replicas":2}}}'
}

# ---- readers ----

reader_yaml() {
    cat <<YAML
apiVersion: v1
kind: Pod
metadata: {name: reader-$1, labels: {test: reader}}
spec:
  nodeName: node$1
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: reader
      image: goosefs.local/goosefs:latest
      imagePullPolicy: Never
      command: [bash, -c, "trap 'exit 0' TERM; sleep infinity & wait"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: hbase, readOnly: true}}]
YAML
}

start_readers() {
    local n
    for n in 1 2 3; do
        reader_yaml "$n" | k apply -f -
    done
    k wait --for=condition=Ready pod -l test=reader --timeout=120s
    for n in 1 2 3; do
        k exec -i "reader-$n" -- bash -c 'cat >/tmp/sums' <"$WORK/sums"
    done
}

verify_node() {
    [ "$(k exec "reader-$1" -- bash -c 'cd /data/hbase && find . -type f | wc -l')" = "$(wc -l <"$WORK/sums")" ]
    k exec "reader-$1" -- bash -c 'cd /data/hbase && sha256sum -c --quiet --strict /tmp/sums'
}

# Reads everything again and again past the page cache until /tmp/stop appears.
start_loops() {
    local n
    for n in 1 2 3; do
        k exec -i "reader-$n" -- bash -c 'cat >/tmp/loop' <<'LOOP'
rounds=0 errors=0
cd /data/hbase
while [ ! -e /tmp/stop ]; do
    while IFS= read -r line; do
        line=${line#\\}
        want=${line%% *} file=${line#*  }
        got=$(dd if="$file" iflag=direct bs=1M 2>>/tmp/errors | sha256sum) || errors=$((errors + 1))
        [ "${got%% *}" = "$want" ] || { errors=$((errors + 1)); date "+%T $file" >>/tmp/errors; }
    done </tmp/sums
    rounds=$((rounds + 1))
    echo "$rounds $errors" >/tmp/result.new
    mv /tmp/result.new /tmp/result
done
LOOP
        k exec "reader-$n" -- bash -c 'bash /tmp/loop >/dev/null 2>&1 &'
    done
}

rounds() {
    k exec "reader-$1" -- bash -c 'cat /tmp/result 2>/dev/null || echo 0 0' | cut -d' ' -f1
}

rounds_at_least() {
    [ "$(rounds "$1")" -ge "$2" ]
}

# Two more whole rounds on every node.
two_rounds() {
    local n now
    for n in 1 2 3; do
        now=$(rounds "$n")
        eventually 180 rounds_at_least "$n" $((now + 2)) || return 1
    done
}

no_errors() {
    local n
    for n in 1 2 3; do
        k exec "reader-$n" -- bash -c 'cat /tmp/result; grep -v records /tmp/errors | grep -v copied | tail -n 5; read -r _ errors </tmp/result; [ "$errors" = 0 ]'
    done
}

# under_fault COMMAND...: the fault, readiness afterwards, two more rounds, no error.
under_fault() {
    "$@" || return 1
    eventually 180 all_ready || return 1
    two_rounds || return 1
    no_errors
}

all_ready() {
    runtime_table >/dev/null && [ "$(k get pods -l app=goosefs --no-headers | awk '$2 != "1/1" || $3 != "Running"' | wc -l)" = 0 ]
}

delete_leader() {
    local leader
    leader=$(k exec hbase-master-0 -- goosefs fs leader)
    k delete pod "${leader%%[.:]*}" --wait=true
}

delete_each() {
    local pod
    for pod in $(k get pods -l "role=goosefs-$1" -o name); do
        k delete "$pod" --wait=true
        eventually 120 all_ready || return 1
    done
}

delete_all_masters() {
    k delete pod hbase-master-0 hbase-master-1 hbase-master-2 --wait=true
}

kill_plugins() {
    local n pid
    for n in 1 2 3; do
        pid=$("$LAB" node "$n" pgrep -x csi-nodeplugin- | head -n 1)
        "$LAB" node "$n" kill -KILL "$pid"
    done
    eventually 120 plugins_ready
}

plugins_ready() {
    [ "$(k get pods -n fluid-system -l app=csi-nodeplugin-fluid --no-headers | awk '$2 == "2/2"' | wc -l)" = 3 ]
}

restart_kubelet() {
    "$LAB" stop 2
    "$LAB" start 2
}

restart_controller() {
    k delete pod -n fluid-system -l app=goosefsruntime-controller --wait=true
    k rollout status -n fluid-system deployment/goosefsruntime-controller --timeout=60s
}

# ---- objects ----

put_back() {
    k delete service hbase-master-1
    k delete configmap hbase-config
    eventually 30 k get service hbase-master-1
    eventually 30 k get configmap hbase-config
    k patch statefulset hbase-master --type merge -p '{"spec":{"replicas":1}}'
    eventually 60 masters_wanted 3
    eventually 120 all_ready
}

masters_wanted() {
    [ "$(k get statefulset hbase-master -o 'jsonpath={.spec.replicas}')" = "$1" ]
}

scale() {
    k scale goosefsruntime hbase --replicas="$1"
    eventually 120 workers_ready "$1"
}

workers_ready() {
    [ "$(k get goosefsruntime hbase -o 'jsonpath={.status.workerNumberReady}/{.status.desiredWorkerNumberScheduled}/{.status.workerPhase}')" = "$1/$1/Ready" ]
}

delete_runtime() {
    k delete goosefsruntime hbase --timeout=60s
    eventually 30 not_bound
    eventually 60 no_parts
}

not_bound() {
    [ "$(k get dataset hbase -o 'jsonpath={.status.phase}')" = NotBound ]
}

no_parts() {
    [ -z "$(k get statefulset,replicaset,daemonset,pvc,pdb,configmap,service,pod -l app=goosefs -o name)$(k get pv -o name)" ]
}

delete_refused() {
    k delete dataset hbase --wait=false
    eventually 30 refusal_told
    k get dataset hbase
    verify_node 1
}

refusal_told() {
    k get events --field-selector reason=ErrorDeleteDataset,involvedObject.name=hbase --no-headers | grep -q reader-
}

delete_readers() {
    k delete pod -l test=reader --wait=true --timeout=120s
}

everything_gone() {
    [ -z "$(k get dataset,goosefsruntime,statefulset,replicaset,daemonset,pvc,pdb,configmap -l fluid.io/managed-by=fluid -o name; k get dataset,goosefsruntime,pvc,pod -o name; k get pv -o name; k get service -l app=goosefs -o name)" ]
}

nothing_mounted() {
    local n
    for n in 1 2 3; do
        if "$LAB" node "$n" grep -E 'goosefs-fuse|/runtime-mnt/' /proc/self/mountinfo; then
            return 1
        fi
    done
}

# ---- all of it ----

show() {
    printf '\n$ kubectl %s\n' "$*"
    k "$@"
}

document() {
    check "three nodes are Ready" three_nodes
    install_fluid >"$WORK/install.log"
    check "fluid-system has the document's pods" eventually 120 system_pods
    check "the Dataset is created" create_dataset
    check "the GooseFSRuntime is created" create_runtime
    check "the document's pods run" eventually 180 runtime_pods
    check "the Dataset is Bound" eventually 60 bound
    check "MASTER, WORKER and FUSE PHASE are Ready" eventually 60 runtime_table
    check "the Dataset knows its files" eventually 60 sized
    check "masterInfo in the shell of hbase-master-0" master_info
    check "workers are on three nodes" workers_spread
    check "an even number of masters is refused" even_masters_refused
    show get nodes
    show get pod -n fluid-system
    show get pod
    show get goosefsruntime
    show get dataset
    show exec hbase-master-0 -- goosefs fs masterInfo
    echo
}

readers() {
    local n
    check "pods on all nodes mount the claim" start_readers
    for n in 1 2 3; do
        check "every byte on node$n is the origin's" verify_node "$n"
    done
    start_loops
    check "the leader's pod is deleted: no read error" under_fault delete_leader
    check "each worker pod is deleted: no read error" under_fault delete_each worker
    check "each fuse pod is deleted: no read error" under_fault delete_each fuse
    check "the plugins are killed: no read error" under_fault kill_plugins
    check "kubelet and containerd of node2 are restarted: no read error" under_fault restart_kubelet
    check "the controller is replaced: no read error" under_fault restart_controller
    check "all masters are deleted at once: no read error" under_fault delete_all_masters
}

objects() {
    check "what is deleted or edited by hand is put back" put_back
    check "scaled to two workers" scale 2
    check "scaled back to three" scale 3
    for n in 1 2 3; do
        check "every byte on node$n is still the origin's" verify_node "$n"
    done
    check "the readers end" delete_readers
    check "a runtime deleted alone leaves its Dataset NotBound" delete_runtime
    check "a runtime of the same name is created" create_runtime
    check "the Dataset is Bound again" eventually 120 bound
    check "MASTER, WORKER and FUSE PHASE are Ready again" eventually 60 runtime_table
    check "pods on all nodes mount the new claim" start_readers
    check "every byte on node1 is the origin's, from the new runtime" verify_node 1
    check "a Dataset in use is not deleted" delete_refused
    check "its readers end" delete_readers
    check "the Dataset and all of its objects are gone" eventually 120 everything_gone
    check "no node has a mount left" eventually 60 nothing_mounted
}

main() {
    [ "${1:-}" != --keep ] || KEEP=true
    [ "$(id -u)" = 0 ] || { echo "skipped: a cluster on this machine needs root"; exit 0; }
    kubernetes_binaries || exit 0
    if [ -z "${GFS_BIN:-}" ]; then
        build release programs
        GFS_BIN=build/release/bin
    fi
    WORK=$(mktemp -d /tmp/goosefs-kubernetes-XXXXXX)
    export LAB_DIR=$WORK/lab
    trap finish EXIT
    trap 'exit 130' INT TERM
    bring_up
    document
    readers
    objects
    echo "$PASSED passed, $FAILED failed"
    [ $FAILED = 0 ]
}

main "$@"
