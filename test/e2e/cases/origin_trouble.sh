# An origin that is not there, not found, no index or silent: the Dataset says so, the runtime keeps
# trying, and both recover by themselves.
# shellcheck shell=bash

conditions_say() {
    fluid-controller get events -o wide | grep -qF -- "$1" || fluid-controller get dataset hbase -o json | grep -qF -- "$1"
}

mkdir -p "$ORIGIN/data" "$ORIGIN/page"
echo hello >"$ORIGIN/data/file"
echo '<html><title>A page</title><body>no index</body></html>' >"$ORIGIN/page/index.html"
start_web "$ORIGIN" "$STATE/web"
start_platform
runtime

dataset "http://127.0.0.1:$WEB_PORT/missing/"
fluid-controller apply -f "$STATE/dataset.yaml" -f "$STATE/runtime.yaml"
wait_for 60 "the Dataset to tell of 404" conditions_say 404

dataset "http://127.0.0.1:$WEB_PORT/page/"
fluid-controller apply -f "$STATE/dataset.yaml"
wait_for 60 "the Dataset to tell of a page that is no index" conditions_say "not a directory index"

stop_web
dataset "http://127.0.0.1:$WEB_PORT/data/"
fluid-controller apply -f "$STATE/dataset.yaml"
wait_for 60 "the Dataset to tell of a refused connection" conditions_say "refused"

port=$WEB_PORT
free_port() { echo "$port"; }
start_web "$ORIGIN" "$STATE/web"
expect "Bound once the origin is there" bound
mount_volume
expect "the file through the mount" grep -q hello "$TARGET/hbase/file"
