# The multi-master deployment guide: its commands in its order, and its objects' end.
# shellcheck shell=bash

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

sized() {
    [ "$(k get dataset hbase -o 'jsonpath={.status.fileNum}')" = "$(wc -l <"$WORK/sums")" ]
}

# Typed into the shell that the document's exec opens, on a terminal. kubectl wants "--" since 1.31.
master_info() {
    local out
    out=$(printf 'goosefs fs masterInfo\nexit\n' |
        script -qec "$LAB kubectl exec -ti hbase-master-0 -- bash" /dev/null | tr -d '\r')
    echo "$out"
    grep -qE '^current leader master: hbase-master-[0-2]:26000$' <<<"$out" &&
        grep -qxF 'All masters: [hbase-master-0:26000, hbase-master-1:26000, hbase-master-2:26000]' <<<"$out"
}

workers_spread() {
    [ "$(k get pods -l role=goosefs-worker -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)" = 3 ]
}

even_masters_refused() {
    ! k patch goosefsruntime hbase --type merge -p '{"spec":{"master":{"replicas":2}}}'
}

case_document() {
    local n
    check "three nodes are Ready" three_nodes
    install_fluid >"$WORK/install.log"
    check "fluid-system has the document's pods" eventually 180 system_pods
    clean_slate
    check "the Dataset is created" create_dataset
    check "the GooseFSRuntime is created" create_runtime
    check "the document's pods run" eventually 180 runtime_pods
    check "the Dataset is Bound" eventually 60 phase_of hbase Bound
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
    check "pods on all nodes mount the claim" start_readers
    for n in 1 2 3; do
        check "every byte on node$n is the origin's" verify_node "$n"
        start_loop "$n"
    done
}

# What later cases begin with when the document's objects are not there yet.
need_document() {
    need_fluid
    if [ "$(k get goosefsruntime hbase -o 'jsonpath={.spec.master.replicas} {.spec.replicas}' 2>/dev/null)" = "3 3" ]; then
        eventually 120 wide hbase "3 3 Ready 3 3 Ready 3 3 Ready" >/dev/null && return 0
    fi
    clean_slate
    create_dataset && create_runtime && eventually 180 phase_of hbase Bound && eventually 60 runtime_table >/dev/null
}

# ---- objects ----

put_back() {
    k delete service hbase-master-1
    k delete configmap hbase-config
    eventually 30 k get service hbase-master-1 || return 1
    eventually 30 k get configmap hbase-config || return 1
    k patch statefulset hbase-master --type merge -p '{"spec":{"replicas":1}}'
    eventually 60 masters_wanted 3 || return 1
    eventually 120 all_ready
}

masters_wanted() {
    [ "$(k get statefulset hbase-master -o 'jsonpath={.spec.replicas}')" = "$1" ]
}

delete_runtime() {
    k delete goosefsruntime hbase --timeout=60s
    eventually 30 phase_of hbase NotBound || return 1
    eventually 60 no_parts
}

no_parts() {
    [ -z "$(k get statefulset,replicaset,daemonset,pvc,pdb,configmap,service,pod -l app=goosefs -o name)$(k get pv -o name)" ]
}

delete_refused() {
    k delete dataset hbase --wait=false
    eventually 30 refusal_told || return 1
    k get dataset hbase || return 1
    verify_node 1
}

refusal_told() {
    k get events --field-selector reason=ErrorDeleteDataset,involvedObject.name=hbase --no-headers | grep -q reader-
}

nothing_mounted() {
    local n
    for n in 1 2 3; do
        if "$LAB" node "$n" grep -E 'goosefs-fuse|/runtime-mnt/' /proc/self/mountinfo; then
            return 1
        fi
    done
}

case_objects() {
    local n
    need_readers
    check "what is deleted or edited by hand is put back" put_back
    for n in 1 2 3; do
        check "every byte on node$n is still the origin's" verify_node "$n"
    done
    check "the readers end" delete_readers
    check "a runtime deleted alone leaves its Dataset NotBound" delete_runtime
    check "a runtime of the same name is created" create_runtime
    check "the Dataset is Bound again" eventually 120 phase_of hbase Bound
    check "MASTER, WORKER and FUSE PHASE are Ready again" eventually 60 runtime_table
    check "pods on all nodes mount the new claim" start_readers
    check "every byte on node1 is the origin's, from the new runtime" verify_node 1
    check "a Dataset in use is not deleted" delete_refused
    check "its readers end" delete_readers
    check "the Dataset and all of its objects are gone" eventually 120 everything_gone
    check "no node has a mount left" eventually 60 nothing_mounted
}
