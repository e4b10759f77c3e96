# What breaks while pods on three nodes read.
# shellcheck shell=bash

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

files_known() {
    [ "$(k exec hbase-master-0 -- goosefs fs count / | awk 'NR == 2 {print $1}')" = "$(wc -l <"$WORK/sums")" ]
}

# Their journals are all that is left of them; the origin is not asked.
delete_all_masters() {
    k delete pod hbase-master-0 hbase-master-1 hbase-master-2 --wait=true
    eventually 120 all_ready || return 1
    eventually 60 files_known
}

# kill_containers CONTAINER PROGRAM: the first process of the container on each node, hence the
# container, which kubelet starts again.
kill_containers() {
    local n pid before
    before=$(restarts "$1")
    for n in 1 2 3; do
        pid=$("$LAB" node "$n" pgrep -ox "$2")
        "$LAB" node "$n" kill -KILL "$pid"
    done
    eventually 120 restarted "$1" $((before + 3))
}

restarts() {
    k get pods -n fluid-system -l app=csi-nodeplugin-fluid \
        -o "jsonpath={range .items[*].status.containerStatuses[?(@.name=='$1')]}{.restartCount}{\"\n\"}{end}" |
        awk '{n += $1} END {print n + 0}'
}

restarted() {
    [ "$(restarts "$1")" -ge "$2" ] &&
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

case_faults() {
    need_readers
    check "the leader's pod is deleted: no read error" under_fault delete_leader
    check "each worker pod is deleted: no read error" under_fault delete_each worker
    check "each fuse pod is deleted: no read error" under_fault delete_each fuse
    check "the plugins' containers are killed: no read error" under_fault kill_containers plugins csi-nodeplugin-
    check "the keepers' containers are killed: no read error" under_fault kill_containers keeper fuse-keeper
    check "kubelet and containerd of node2 are restarted: no read error" under_fault restart_kubelet
    check "the controller is replaced: no read error" under_fault restart_controller
    check "all masters are deleted at once: metadata is there, no read error" under_fault delete_all_masters
}

# ---- the API server away for a minute ----

# Nothing tells when a minute is over but the minute.
stop_api_server() {
    "$LAB" stop api
    sleep 60
    "$LAB" start api
}

controllers_work() {
    k delete configmap hbase-config
    eventually 120 k get configmap hbase-config
}

case_apiserver() {
    need_readers
    check "the API server is away for a minute: no read error" under_fault stop_api_server
    check "the controllers work again" controllers_work
}

# ---- a node lost ----

lose_node() {
    "$LAB" crash 3
    eventually 300 partial || { k get goosefsruntime hbase -o wide; return 1; }
    two_rounds 1 2 || return 1
    no_errors 1 2
}

partial() {
    [ "$(k get goosefsruntime hbase -o 'jsonpath={.status.workerPhase}')" = PartialReady ]
}

regain_node() {
    "$LAB" start 3
    eventually 240 all_ready || { k get pods -o wide; return 1; }
    two_rounds 1 2 || return 1
    no_errors 1 2
}

case_node() {
    need_readers
    check "node3 is lost: no read error on the others, the runtime is PartialReady" lose_node
    check "node3 comes back: the runtime is Ready again, no read error" regain_node
    k delete pod reader-3 --ignore-not-found --wait=true --timeout=120s >/dev/null
    check "a new pod on node3 mounts the claim" start_reader 3
    check "every byte on node3 is the origin's" verify_node 3
    start_loop 3
}

# ---- a node lost for good: its master's journal with it ----

master_on() {
    k get pods -l role=goosefs-master --field-selector "spec.nodeName=$1" -o 'jsonpath={.items[0].metadata.name}'
}

# docs/operations.md says so to who has to do it.
forget_node() {
    local master
    master=$(master_on node3)
    [ -n "$master" ] || { echo "no master is on node3"; return 1; }
    "$LAB" crash 3
    k delete node node3
    k delete pvc "journal-$master" --wait=false
    k delete pod "$master" --wait=false --ignore-not-found
    eventually 240 quorum_complete || { k get pods,pvc -o wide; return 1; }
    two_rounds 1 2 || return 1
    no_errors 1 2
}

quorum_complete() {
    local master
    for master in 0 1 2; do
        [ "$(k exec "hbase-master-$master" -- goosefs fsadmin journal quorum info | grep -c '^AVAILABLE')" = 3 ] || return 1
    done
}

case_lost() {
    need_readers
    check "node3 is lost for good: its master begins anew elsewhere, no read error" forget_node
    check "another node3 joins: the runtime is Ready again" regain_node
    check "a pod on it mounts the claim" start_reader 3
    check "every byte on it is the origin's" verify_node 3
    start_loop 3
}

# ---- the node plugin upgraded ----

upgrade_plugins() {
    k patch daemonset -n fluid-system csi-nodeplugin-fluid --type merge \
        -p "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"test\":\"$(now_ms)\"}}}}}"
    k rollout status -n fluid-system daemonset/csi-nodeplugin-fluid --timeout=300s
}

rolling() {
    [ "$(k get daemonset -n fluid-system csi-nodeplugin-fluid -o 'jsonpath={.spec.updateStrategy.type}')" = RollingUpdate ]
}

case_upgrade() {
    need_readers
    check "the node plugin is replaced by a rolling update" rolling
    check "the plugin's DaemonSet is upgraded: no read error" under_fault upgrade_plugins
    check "keepers and clients go together: no read error" under_fault replace_both
}

# Every pod that has to do with the mounts of a node, one after the other.
replace_both() {
    upgrade_plugins || return 1
    delete_each fuse
}
