# Everything is stopped and started again: the namespace and the cache are there, even without the
# origin.
# shellcheck shell=bash

make_mirror "$ORIGIN/hbase" 8
start_web "$ORIGIN" "$STATE/web"
dataset "http://127.0.0.1:$WEB_PORT/hbase/"
runtime
start_platform
fluid-controller apply -f "$STATE/dataset.yaml" -f "$STATE/runtime.yaml"
expect "Bound" bound
mount_volume
(cd "$ORIGIN/hbase" && find . -type f -print0 | xargs -0 sha256sum) >"$STATE/sums"
(cd "$TARGET/hbase" && sha256sum --check --quiet "$STATE/sums")
unmount_volume
stop_platform
stop_web

start_platform
fluid-controller apply -f "$STATE/dataset.yaml" -f "$STATE/runtime.yaml"
mount_volume
wait_for 60 "the data set in the mount" test -e "$TARGET/hbase/one-byte"
expect "every byte from the cache" bash -c "cd '$TARGET/hbase' && sha256sum --check --quiet '$STATE/sums'"
