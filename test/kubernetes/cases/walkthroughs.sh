# Walk-throughs of the GooseFSRuntime guides, each in an empty cluster of three nodes: what kubectl
# prints, with their numbers of nodes and sizes of origins replaced by this lab's.
# shellcheck shell=bash

# dataset NAME ORIGIN [SPEC]: SPEC is more of the spec, two blanks deep.
dataset() {
    cat <<YAML | k create -f -
apiVersion: data.fluid.io/v1alpha1
kind: Dataset
metadata: {name: $1}
spec:
  mounts: [{mountPoint: $ORIGIN/apache/$2, name: $1$([ "$3" != root ] || echo ', path: "/"')}]
$([ "$3" = root ] || cat <<<"$3")
YAML
}

# runtime NAME REPLICAS MEDIUM PATH QUOTA [SPEC]
runtime() {
    cat <<YAML | k create -f -
apiVersion: data.fluid.io/v1alpha1
kind: GooseFSRuntime
metadata: {name: $1}
spec:
  replicas: $2
  tieredstore:
    levels: [{mediumtype: $3, path: $4, quota: $5, high: "0.95", low: "0.7"}]
${6:-}
YAML
}

# users NAME CLAIM REPLICAS [SPEC]: the guides' nginx, at most one on a node.
users() {
    cat <<YAML | k create -f -
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: $1, labels: {test: users}}
spec:
  replicas: $3
  serviceName: $1
  podManagementPolicy: Parallel
  selector: {matchLabels: {test: users, users: $1}}
  template:
    metadata: {labels: {test: users, users: $1}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {labelSelector: {matchLabels: {users: $1}}, topologyKey: kubernetes.io/hostname}
$(cat <<<"${4:-}")
      containers:
        - name: nginx
          image: goosefs.local/goosefs:latest
          imagePullPolicy: Never
          command: [bash, -c, "trap 'exit 0' TERM; sleep infinity & wait"]
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: $2}}]
YAML
}

# On which nodes the pods of a role are, as "node1 node3".
nodes_of() {
    k get pods -l "release=$1,role=goosefs-$2" -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' |
        sort -u | xargs
}

are_on() {
    local nodes
    nodes=$(nodes_of "$1" "$2")
    echo "$nodes"
    [ "$nodes" = "$3" ]
}

pod_runs_on() {
    [ "$(k get pod "$1" -o 'jsonpath={.status.phase} {.spec.nodeName}')" = "Running $2" ]
}

pod_waits() {
    k get events --field-selector "reason=FailedScheduling,involvedObject.name=$1" --no-headers | grep -F "$2"
    [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = Pending ]
}

condition() {
    [ "$(k get "$1" "$2" -o "jsonpath={.status.conditions[?(@.type=='$3')].status}")" = True ]
}

happened() {
    k get events --field-selector "reason=$1,involvedObject.name=$2" \
        -o 'jsonpath={range .items[*]}{.type} {.source.component} {.message}{"\n"}{end}' | grep -F "$3"
}

# ---- T5 ----

scale_to() {
    same "goosefsruntime.data.fluid.io/hbase scaled" "$(k scale goosefsruntime hbase --replicas="$1")" || return 1
    eventually 120 wide hbase "1 1 Ready $1 $1 Ready 3 3 Ready"
}

case_scaling() {
    local total
    total=$(total_of hbase)
    clean_slate
    dataset hbase hbase "" >/dev/null
    runtime hbase 1 MEM /dev/shm 2G >/dev/null
    check "scaling: one master, one worker, all phases Ready" eventually 180 wide hbase "1 1 Ready 1 1 Ready 3 3 Ready"
    check "scaling: $total 0.00B 2.00GiB 0.0% Bound" eventually 60 dataset_row hbase "$total 0.00B 2.00GiB 0.0% Bound"
    check "scaling: kubectl scale to 2 workers" scale_to 2
    check "scaling: 4.00GiB" eventually 60 dataset_row hbase "$total 0.00B 4.00GiB 0.0% Bound"
    check "scaling: condition WorkersScaledOut" condition goosefsruntime hbase WorkersScaledOut
    check "scaling: event Succeed" eventually 30 happened Succeed hbase \
        "Normal GooseFSRuntime Runtime scaled out. current replicas: 1, desired replicas: 2."
    check "scaling: kubectl scale back to 1 worker" scale_to 1
    check "scaling: 2.00GiB" eventually 120 dataset_row hbase "$total 0.00B 2.00GiB 0.0% Bound"
    check "scaling: condition WorkersScaledIn" condition goosefsruntime hbase WorkersScaledIn
}

# ---- T6 ----

case_affinity() {
    clean_slate
    k label node node1 hbase-cache=true >/dev/null
    dataset hbase hbase "  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: hbase-cache, operator: In, values: ['true']}]}]" >/dev/null
    runtime hbase 2 SSD /mnt/disk1 2G >/dev/null
    check "affinity: one of two workers finds a node, PartialReady" \
        eventually 180 wide hbase "1 1 Ready 1 2 PartialReady 3 3 Ready"
    check "affinity: it is on the labelled node" running_workers node1
    check "affinity: the Dataset is Bound all the same" eventually 60 phase_of hbase Bound
    users nginx hbase 2 >/dev/null
    check "affinity: one user runs where the cache is" eventually 120 one_user_on node1
    check "affinity: the other waits for such a node" eventually 60 one_user_waits "volume node affinity"
    k label node node2 hbase-cache=true >/dev/null
    check "affinity: a second labelled node gets the second worker" \
        eventually 180 wide hbase "1 1 Ready 2 2 Ready 3 3 Ready"
    check "affinity: workers are on both" are_on hbase worker "node1 node2"
    check "affinity: both users run beside them" eventually 120 users_on "node1 node2"
}

running_workers() {
    local nodes
    nodes=$(k get pods -l release=hbase,role=goosefs-worker --field-selector status.phase=Running \
        -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | xargs)
    echo "$nodes"
    [ "$nodes" = "$1" ]
}

users_on() {
    local nodes
    nodes=$(k get pods -l test=users --field-selector status.phase=Running \
        -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort | xargs)
    echo "$nodes"
    [ "$nodes" = "$1" ]
}

one_user_on() {
    users_on "$1"
}

one_user_waits() {
    local pod
    pod=$(k get pods -l test=users --field-selector status.phase=Pending -o 'jsonpath={.items[0].metadata.name}')
    pod_waits "$pod" "$1"
}

# ---- T7 ----

case_toleration() {
    clean_slate
    k taint node --all hbase=true:NoSchedule >/dev/null
    dataset hbase hbase "  tolerations: [{key: hbase, operator: Equal, value: 'true'}]" >/dev/null
    runtime hbase 1 SSD /mnt/disk1 2G >/dev/null
    check "toleration: masters and workers run on tainted nodes" \
        eventually 180 wide hbase "1 1 Ready 1 1 Ready 3 3 Ready"
    check "toleration: the Dataset is Bound" eventually 60 phase_of hbase Bound
    users tolerant hbase 1 "      tolerations: [{key: hbase, operator: Equal, value: 'true'}]" >/dev/null
    users strict hbase 1 >/dev/null
    check "toleration: a user with it runs" eventually 120 user_runs tolerant-0
    check "toleration: one without it waits" eventually 60 pod_waits strict-0 "untolerated taint"
    k taint node --all hbase- >/dev/null
    check "toleration: until the taint is gone" eventually 120 user_runs strict-0
}

user_runs() {
    [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = Running ]
}

# ---- T9 ----

SHARED="  placement: Shared
  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: fluid, operator: In, values: [multi-dataset]}]}]"

# The guides' copy job: everything below a directory, read once.
copy_all() {
    k exec "$1" -- bash -c 'cd "$1" && find . -type f -exec cat {} + | wc -c' - "$2"
}

case_sharing() {
    local hbase spark
    hbase=$(total_of hbase)
    spark=$(total_of spark)
    clean_slate
    k label node node3 fluid=multi-dataset >/dev/null
    dataset hbase hbase "$SHARED" >/dev/null
    dataset spark spark "$SHARED" >/dev/null
    check "sharing: both NotBound before their runtimes" eventually 60 both_not_bound
    runtime hbase 1 SSD /mnt/disk1 2G >/dev/null
    runtime spark 1 SSD /mnt/disk2/ 4G >/dev/null
    check "sharing: hbase is Ready" eventually 180 wide hbase "1 1 Ready 1 1 Ready 3 3 Ready"
    check "sharing: spark is Ready" eventually 180 wide spark "1 1 Ready 1 1 Ready 3 3 Ready"
    check "sharing: hbase's worker is on node3" are_on hbase worker node3
    check "sharing: spark's worker is on node3" are_on spark worker node3
    check "sharing: $hbase 0.00B 2.00GiB 0.0% Bound" eventually 60 dataset_row hbase "$hbase 0.00B 2.00GiB 0.0% Bound"
    check "sharing: $spark 0.00B 4.00GiB 0.0% Bound" eventually 60 dataset_row spark "$spark 0.00B 4.00GiB 0.0% Bound"
    check "sharing: pods on that node mount both" mount_both
    # GooseFS shows -r--r----- and lets everybody read all the same; here the kernel goes by what is shown.
    check "sharing: files are -r--r--r--" modes_are -r--r--r--
    check "sharing: hbase is copied" copy_all nginx-hbase /data/hbase
    check "sharing: spark is copied" copy_all nginx-spark /data/spark
    check "sharing: $hbase cached, 100.0%" eventually 60 dataset_row hbase "$hbase $hbase 2.00GiB 100.0% Bound"
    check "sharing: $spark cached, 100.0%" eventually 60 dataset_row spark "$spark $spark 4.00GiB 100.0% Bound"
}

both_not_bound() {
    phase_of hbase NotBound && phase_of spark NotBound
}

mount_both() {
    local name
    for name in hbase spark; do
        reader_yaml "nginx-$name" node3 "$name" | k apply -f - || return 1
    done
    for name in hbase spark; do
        k wait --for=condition=Ready pod "nginx-$name" --timeout=120s || return 1
    done
}

modes_are() {
    local modes
    modes=$(k exec nginx-hbase -- bash -c 'find /data/hbase -type f -exec ls -l {} +' | awk '{print $1}' | sort -u)
    echo "$modes"
    [ "$modes" = "$1" ]
}

# ---- T11 ----

case_root() {
    clean_slate
    dataset hbase hbase/stable/ root >/dev/null
    runtime hbase 1 SSD /mnt/disk1 2G >/dev/null
    check "root: Ready" eventually 180 wide hbase "1 1 Ready 1 1 Ready 3 3 Ready"
    check "root: Bound" eventually 60 phase_of hbase Bound
    reader_yaml reader-1 node1 hbase | k apply -f - >/dev/null
    check "root: a pod mounts the claim" k wait --for=condition=Ready pod reader-1 --timeout=120s
    check "root: it sees the origin's top level" top_level reader-1 /data
    check "root: the fuse pod of that node sees it too" fuse_top_level
}

top_level() {
    same "$(cd "$WORK/www/apache/hbase/stable" && find . -mindepth 1 -maxdepth 1 | sort)" \
        "$(k exec "$1" -- bash -c 'cd "$1" && find . -mindepth 1 -maxdepth 1 | sort' - "$2")"
}

fuse_top_level() {
    local pod
    pod=$(k get pods -l release=hbase,role=goosefs-fuse --field-selector spec.nodeName=node1 -o 'jsonpath={.items[0].metadata.name}')
    top_level "$pod" /runtime-mnt/goosefs/default/hbase/goosefs-fuse
}

# ---- T13 ----

case_clients() {
    clean_slate
    dataset hbase hbase "  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]}]" >/dev/null
    runtime hbase 1 SSD /mnt/disk1 2G "  fuse: {global: true}" >/dev/null
    check "clients: one worker, a client on every node" eventually 180 wide hbase "1 1 Ready 1 1 Ready 3 3 Ready"
    check "clients: the worker is on node1" are_on hbase worker node1
    check "clients: clients are on all nodes" are_on hbase fuse "node1 node2 node3"
    reader_yaml reader-3 node3 hbase | k apply -f - >/dev/null
    check "clients: a pod far from the cache mounts the claim" k wait --for=condition=Ready pod reader-3 --timeout=120s
    k delete pod reader-3 --wait=true --timeout=120s >/dev/null
    k patch goosefsruntime hbase --type merge \
        -p '{"spec":{"fuse":{"nodeSelector":{"kubernetes.io/hostname":"node2"}}}}' >/dev/null
    check "clients: with a nodeSelector one" eventually 180 wide hbase "1 1 Ready 1 1 Ready 1 1 Ready"
    check "clients: on that node" eventually 60 are_on hbase fuse node2
}

# ---- fuse.global: false ----

case_demand() {
    clean_slate
    dataset hbase hbase "" >/dev/null
    runtime hbase 1 SSD /mnt/disk1 2G "  fuse: {global: false}" >/dev/null
    check "demand: Bound" eventually 180 phase_of hbase Bound
    check "demand: no client without a pod" are_on hbase fuse ""
    reader_yaml reader-3 node3 hbase | k apply -f - >/dev/null
    check "demand: a pod mounts the claim" k wait --for=condition=Ready pod reader-3 --timeout=120s
    check "demand: a client is where the pod is" eventually 60 are_on hbase fuse node3
    check "demand: its node is labelled" labelled node3 fluid.io/f-default-hbase
    k delete pod reader-3 --wait=true --timeout=120s >/dev/null
    check "demand: with its last pod the client goes" eventually 120 are_on hbase fuse ""
}

labelled() {
    [ "$(k get node "$1" -o "jsonpath={.metadata.labels.${2//./\\.}}")" = true ]
}
