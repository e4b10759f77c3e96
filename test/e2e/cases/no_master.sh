# Without a reachable master the command says so within its deadline and fails.
# shellcheck shell=bash

mkdir -p "$STATE/conf"
port=$(free_port)
cat >"$STATE/conf/goosefs-site.properties" <<PROPERTIES
goosefs.master.rpc.addresses=127.0.0.1:$port,127.0.0.2:$port,127.0.0.3:$port
goosefs.user.rpc.retry.max.duration=1s
PROPERTIES
export GOOSEFS_CONF_DIR="$STATE/conf"
for command in 'fs ls /' 'fs cat /x' 'fs stat /x' 'fs count /' 'fs mount' 'fs leader' 'fsadmin report'; do
    # shellcheck disable=SC2086
    refuse timeout 60 goosefs $command
    expect_text "$STATE/output" "127.0.0.1:$port"
done
expect "masterInfo says that there is no leader" bash -c 'timeout 60 goosefs fs masterInfo 2>&1 | grep -qi "leader"'
