# Readers that run beside a fault and count what they saw. Sourced, not run. Uses STATE and TARGET.
# shellcheck shell=bash

READER_ERRORS=0

# read_until_stopped NAME ROUND...: runs ROUND again and again until stop_readers, in the background
# of the caller's choice. After each, $STATE/NAME.result holds "rounds errors".
read_until_stopped() {
    local name=$1 rounds=0
    shift
    READER_ERRORS=0
    while [ ! -e "$STATE/reader.stop" ]; do
        "$@"
        rounds=$((rounds + 1))
        echo "$rounds $READER_ERRORS" >"$STATE/$name.new"
        mv "$STATE/$name.new" "$STATE/$name.result"
    done
}

# For rounds: counts one error and says which.
reader_error() {
    READER_ERRORS=$((READER_ERRORS + 1))
    echo "reader: $*" >&2
}

# direct_round SUMS BLOCK: reads every file of SUMS (sha256sum's form, below the mounted hbase) without
# the page cache, so that every byte and every name comes through the client.
direct_round() {
    local want file got
    while read -r want file; do
        file=${file#./}
        got=$(dd if="$TARGET/hbase/$file" iflag=direct bs="$2" status=none | sha256sum) || reader_error "can't read $file"
        [ "${got%% *}" = "$want" ] || reader_error "wrong bytes: $file"
        ls -la "$TARGET/hbase/$(dirname "$file")" >/dev/null || reader_error "can't list the directory of $file"
    done <"$1"
}

# reader_rounds NAME: rounds made so far.
reader_rounds() {
    cut -d' ' -f1 "$STATE/$1.result" 2>/dev/null || echo 0
}

# most_rounds NAME...: of the reader that is farthest.
most_rounds() {
    local name
    for name in "$@"; do
        reader_rounds "$name"
    done | sort -n | tail -1
}

# more_rounds_than N NAME...: whether every reader has made more than N.
more_rounds_than() {
    local n=$1 name
    shift
    for name in "$@"; do
        [ "$(reader_rounds "$name")" -gt "$n" ] || return 1
    done
}

# stop_readers NAME:PID...: ends them and fails unless none saw an error.
stop_readers() {
    end_readers "$@"
    [ "$READERS_ERRORS" = 0 ] || fail "readers saw $READERS_ERRORS errors"
}

# end_readers NAME:PID...: ends them; READERS_ERRORS is how many errors all of them saw.
end_readers() {
    local reader rounds errors
    READERS_ERRORS=0
    : >"$STATE/reader.stop"
    for reader in "$@"; do
        wait "${reader##*:}"
        read -r rounds errors <"$STATE/${reader%%:*}.result"
        echo "${reader%%:*}: $rounds rounds, $errors errors"
        READERS_ERRORS=$((READERS_ERRORS + errors))
    done
    rm -f "$STATE/reader.stop"
}
