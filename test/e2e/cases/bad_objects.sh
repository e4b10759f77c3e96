# What is wrong in a manifest is said with file, line and reason, and nothing is started.
# shellcheck shell=bash

f="$STATE/bad.yaml"

bad_runtime() { # bad_runtime FIELD-LINES TEXT
    cat >"$f" <<YAML
apiVersion: data.fluid.io/v1alpha1
kind: GooseFSRuntime
metadata:
  name: hbase
spec:
$1
YAML
    refuse fluid-controller validate -f "$f"
    expect_text "$STATE/output" "$f:"
    expect_text "$STATE/output" "$2"
}

for n in 0 2 -1 '"three"'; do
    bad_runtime "  master: {replicas: $n}" "master.replicas"
done
bad_runtime "  tieredstore: {levels: [{mediumtype: TAPE, path: /x, quota: 1G}]}" "mediumtype"
bad_runtime "  tieredstore: {levels: [{mediumtype: HDD, path: /x, quota: lots}]}" "quota"
bad_runtime '  tieredstore: {levels: [{mediumtype: HDD, path: /x, quota: 1G, high: "0.5", low: "0.7"}]}' "high"

cat >"$f" <<YAML
apiVersion: data.fluid.io/v1alpha1
kind: Dataset
metadata:
  name: hbase
spec:
  mounts:
    - name: hbase
YAML
refuse fluid-controller validate -f "$f"
expect_text "$STATE/output" "$f:"
expect_text "$STATE/output" "mountPoint"

printf 'a: [unbalanced\n' >"$f"
refuse fluid-controller validate -f "$f"
expect_text "$STATE/output" "$f:"

expect "the samples are valid" fluid-controller validate -f deploy/samples/dataset.yaml -f deploy/samples/runtime.yaml
