# Pods that read a data set while something happens. Sourced, not run.
# shellcheck shell=bash

# reader_yaml NAME NODE CLAIM: a pod that waits to be told what to read.
reader_yaml() {
    cat <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {test: reader}}
spec:
  nodeName: $2
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  tolerations: [{operator: Exists}]
  containers:
    - name: reader
      image: goosefs.local/goosefs:latest
      imagePullPolicy: Never
      command: [bash, -c, "trap 'exit 0' TERM; sleep infinity & wait"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: $3, readOnly: true}}]
YAML
}

start_reader() {
    reader_yaml "reader-$1" "node$1" hbase | k apply -f -
    k wait --for=condition=Ready pod "reader-$1" --timeout=120s
    k exec -i "reader-$1" -- bash -c 'cat >/tmp/sums' <"$WORK/sums"
}

start_readers() {
    local n
    for n in 1 2 3; do
        reader_yaml "reader-$n" "node$n" hbase | k apply -f -
    done
    for n in 1 2 3; do
        start_reader "$n" || return 1
    done
}

verify_node() {
    [ "$(k exec "reader-$1" -- bash -c 'cd /data/hbase && find . -type f | wc -l')" = "$(wc -l <"$WORK/sums")" ] &&
        k exec "reader-$1" -- bash -c 'cd /data/hbase && sha256sum -c --quiet --strict /tmp/sums'
}

# Reads everything again and again past the page cache until /tmp/stop appears.
start_loop() {
    k exec -i "reader-$1" -- bash -c 'cat >/tmp/loop' <<'LOOP'
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
    k exec "reader-$1" -- bash -c 'bash /tmp/loop >/dev/null 2>&1 &'
}

rounds() {
    k exec "reader-$1" -- bash -c 'cat /tmp/result 2>/dev/null || echo 0 0' | cut -d' ' -f1
}

rounds_at_least() {
    [ "$(rounds "$1")" -ge "$2" ]
}

# two_rounds NODE...: two more whole rounds on these nodes.
two_rounds() {
    local n now
    for n in "$@"; do
        now=$(rounds "$n") || return 1
        eventually 240 rounds_at_least "$n" $((now + 2)) || { echo "reader-$n does not go on"; return 1; }
    done
}

# No error since the last time: each check answers for its own.
no_errors() {
    local n clean=true
    for n in "$@"; do
        k exec "reader-$n" -- bash -c 'read -r rounds errors </tmp/result; read -r told </tmp/told || told=0
            echo "reader: $rounds rounds, $((errors - told)) errors"; echo "$errors" >/tmp/told
            grep -v records /tmp/errors | grep -v copied | tail -n 5
            [ "$errors" = "$told" ]' 2>&1 || clean=false
    done
    $clean
}

# under_fault COMMAND...: the fault, readiness afterwards, two more rounds everywhere, no error.
under_fault() {
    "$@" || return 1
    eventually 180 all_ready || { echo "not all ready again"; k get pods -o wide; return 1; }
    two_rounds 1 2 3 || return 1
    no_errors 1 2 3
}

all_ready() {
    [ "$(phases hbase)" = "Ready Ready Ready" ] &&
        [ "$(k get pods -l app=goosefs --no-headers | awk '$2 != "1/1" || $3 != "Running"' | wc -l)" = 0 ]
}

delete_readers() {
    k delete pod -l test=reader --wait=true --timeout=120s
}

# The document's objects, and readers on all nodes that go on reading.
need_readers() {
    need_document
    k get pod reader-1 reader-2 reader-3 >/dev/null 2>&1 && return 0
    local n
    start_readers >"$WORK/readers.log"
    for n in 1 2 3; do
        start_loop "$n"
    done
}
