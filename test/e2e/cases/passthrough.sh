# A file that the worker here has whole is read by the kernel alone: the client may die, the worker
# may drop the file, the origin may get another version, and no reader sees a wrong byte.
# shellcheck shell=bash

kernel_offers_passthrough() {
    local major minor
    IFS=.- read -r major minor _ < <(uname -r)
    [ $((major * 1000 + minor)) -ge 6009 ] || return 1
    [ ! -r /proc/config.gz ] || grep -q '^CONFIG_FUSE_PASSTHROUGH=y' <(zcat /proc/config.gz)
}
if ! kernel_offers_passthrough || [ "$(stat -f -c %T "$STATE")" = overlayfs ]; then
    echo "skipped: needs a kernel with FUSE passthrough, and a disk that is not stacked"
    exit 77
fi

make_mirror "$ORIGIN/hbase" 20
start_web "$ORIGIN" "$STATE/web"
dataset "http://127.0.0.1:$WEB_PORT/hbase/"
runtime hbase 1 1
METRICS_PORT=$(free_port)
cat >>"$STATE/runtime.yaml" <<YAML
  properties:
    goosefs.user.file.metadata.sync.interval: 100ms
  fuse:
    properties:
      goosefs.fuse.web.address: 127.0.0.1:$METRICS_PORT
      goosefs.fuse.attr.timeout: 0s
      goosefs.fuse.entry.timeout: 0s
YAML
start_platform
fluid-controller apply -f "$STATE/dataset.yaml" -f "$STATE/runtime.yaml"
expect "Bound" bound
mount_volume

passthrough_opens() {
    curl -fsS "http://127.0.0.1:$METRICS_PORT/metrics" |
        awk '/^goosefs_fuse_passthrough_opens_total/ { n = $2 } END { print n + 0 }'
}

large="hbase/hbase-2.5.10-bin.tar.gz"
before=$(passthrough_opens)
expect "the bytes of the first read" cmp "$TARGET/$large" "$ORIGIN/$large"
expect "no passthrough open of what nobody has read yet" test "$(passthrough_opens)" = "$before"

# The first read fills: the second is passthrough, though the first visit may have replaced the version
# that the directory's index gave by the exact one.
read_by_the_kernel() {
    before=$(passthrough_opens)
    cmp "$TARGET/$large" "$ORIGIN/$large" && [ "$(passthrough_opens)" -gt "$before" ]
}
wait_for 60 "a passthrough open" read_by_the_kernel

# Small files, too: one read makes them whole.
(cd "$ORIGIN/hbase" && find . -type f -size -6M -print0 | xargs -0 sha256sum) >"$STATE/sums"
files=$(grep -vc ' \./empty$' "$STATE/sums")
all_by_the_kernel() {
    before=$(passthrough_opens)
    (cd "$TARGET/hbase" && sha256sum --check --quiet "$STATE/sums") || fail "wrong bytes"
    [ $(($(passthrough_opens) - before)) -ge "$files" ]
}
wait_for 60 "passthrough opens of all $files files that have bytes" all_by_the_kernel

# The client is killed again and again under readers that verify every byte.
cached_round() {
    (cd "$TARGET/hbase" && sha256sum --check --quiet "$STATE/sums") || reader_error "wrong sums"
    cmp "$TARGET/$large" "$ORIGIN/$large" || reader_error "wrong bytes: $large"
}

fuse=$(fluid-controller get pods | awk '/^hbase-fuse-/ {print $1; exit}')

# The keeper opened the backing files: the client may do nothing (unless its program is in a place
# that other users cannot enter, which the platform says).
if ! grep -rqF "FUSE clients run as root" "$STATE"/*.log "$STATE"/log 2>/dev/null; then
    expect "a client without capabilities" \
        grep -q '^CapPrm:[[:space:]]*0000000000000000$' "/proc/$(pod_pid "$fuse")/status"
    expect "a client under a system call filter" \
        grep -q '^Seccomp:[[:space:]]*2$' "/proc/$(pod_pid "$fuse")/status"
fi
read_until_stopped one cached_round 2>"$STATE/one.log" &
one=$!
read_until_stopped two cached_round 2>"$STATE/two.log" &
two=$!
wait_for 120 "the readers' first rounds" more_rounds_than 0 one two
for _ in 1 2 3 4 5 6 7 8; do
    pid=$(pod_pid "$fuse")
    kill -KILL "$pid"
    wait_for 60 "$fuse to run again" pod_restarted "$fuse" "$pid"
done
last=$(reader_rounds one)
[ "$(reader_rounds two)" -gt "$last" ] && last=$(reader_rounds two)
wait_for 120 "one more round of the readers" more_rounds_than "$last" one two
stop_readers "one:$one" "two:$two"
expect "still passthrough" test "$(passthrough_opens)" -gt 0

# The worker drops the file while it is open: the reader's bytes stay.
exec 7<"$TARGET/$large"
head -c 1000 <&7 | cmp - <(head -c 1000 "$ORIGIN/$large") || fail "the first bytes"
goosefs fs free "/$large"
extents() {
    find "$STATE" -path '*/extents/*' -type f -size "$(stat -c %s "$ORIGIN/$large")c"
}
no_extents() {
    [ -z "$(extents)" ]
}
wait_for 60 "the worker to drop the file" no_extents
cmp "/proc/self/fd/7" "$ORIGIN/$large" || fail "bytes of an evicted file, opened again"
cat <&7 | cmp - <(tail -c +1001 "$ORIGIN/$large") || fail "bytes of an evicted file"
exec 7<&-

# Another version at the origin while the old one is open: new opens get the new bytes.
small="hbase/a block"
cat "$TARGET/$small" >"$STATE/old"
before=$(passthrough_opens)
exec 8<"$TARGET/$small"
expect "the old version opened in passthrough mode" test "$(passthrough_opens)" -gt "$before"
noise 99 5000 >"$ORIGIN/$small.new"
mv "$ORIGIN/$small.new" "$ORIGIN/$small"
wait_for 60 "the new version" cmp "$TARGET/$small" "$ORIGIN/$small"
cmp "$TARGET/$small" "$ORIGIN/$small" || fail "the new version beside the old one"
cat <&8 | cmp - "$STATE/old" || fail "the old version, opened before"
exec 8<&-
expect "the new version, alone" cmp "$TARGET/$small" "$ORIGIN/$small"
before=$(passthrough_opens)
expect "the new version, again" cmp "$TARGET/$small" "$ORIGIN/$small"
expect "the new version in passthrough mode" test "$(passthrough_opens)" -gt "$before"
