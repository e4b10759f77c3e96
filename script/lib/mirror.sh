# A tree shaped like a mirror directory of a release, and a web server for it. Sourced, not run.
# shellcheck shell=bash

# noise SEED BYTES: reproducible bytes that no compression shrinks.
noise() {
    # openssl ends by SIGPIPE when head has enough: no failure.
    { openssl enc -aes-128-ctr -K "$(printf '%032x' "$1")" -iv 0 -in /dev/zero 2>/dev/null || true; } |
        head -c "$2"
}

# make_mirror DIR [LARGEST_MB]: 40 files from 0 B to LARGEST_MB (200), sub directories, and the
# names that break careless clients.
make_mirror() {
    local dir=$1 largest=${2:-200} i
    mkdir -p "$dir"/{docs/api/deep,checksums,"release notes"}
    noise 1 $((largest << 20)) >"$dir/hbase-2.5.10-bin.tar.gz"
    noise 2 $((5 << 20)) >"$dir/hbase-2.5.10-client-bin.tar.gz"
    noise 3 $((4 << 20 | 1)) >"$dir/hbase-2.5.10-src.tar.gz"
    : >"$dir/empty"
    printf 'x' >"$dir/one-byte"
    noise 4 4096 >"$dir/a block"
    noise 5 4095 >"$dir/100% sure.txt"
    noise 6 4097 >"$dir/c++ and a+b.txt"
    noise 7 12345 >"$dir/$(printf 'r\303\251sum\303\251 \346\227\245\346\234\254.txt')"
    noise 8 777 >"$dir/hash#mark?and&amp;.txt"
    noise 9 100 >"$dir/a-name-that-is-longer-than-the-fifty-bytes-an-index-page-shows-of-it.txt"
    for i in $(seq 1 20); do
        noise $((100 + i)) $((i * i * 1000)) >"$dir/docs/page-$i.html"
    done
    for i in 1 2 3 4 5; do
        noise $((200 + i)) $((i * 65536)) >"$dir/docs/api/deep/class $i.bin"
        (cd "$dir" && sha256sum docs/page-$i.html) >"$dir/checksums/page-$i.sha256"
    done
    noise 300 54321 >"$dir/release notes/2.5.10 (final).md"
    find "$dir" -exec touch -d '2024-07-14 09:26:53 UTC' {} +
}

# start_web ROOT WORK: nginx with autoindex, one process, on 127.0.0.1; sets WEB_PORT and WEB_PID.
start_web() {
    local root=$1 work=$2
    mkdir -p "$work/tmp"
    WEB_PORT=$(free_port)
    cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes 1;
error_log $work/error.log;
pid $work/nginx.pid;
user root;
events { worker_connections 512; }
http {
    access_log $work/access.log;
    client_body_temp_path $work/tmp/body;
    proxy_temp_path $work/tmp/proxy;
    fastcgi_temp_path $work/tmp/fastcgi;
    uwsgi_temp_path $work/tmp/uwsgi;
    scgi_temp_path $work/tmp/scgi;
    default_type application/octet-stream;
    sendfile on;
    charset utf-8;
    server {
        listen 127.0.0.1:$WEB_PORT;
        root $root;
        location / { autoindex on; }
    }
}
CONF
    nginx -c "$work/nginx.conf" -p "$work" 2>"$work/stderr.log" &
    WEB_PID=$!
    wait_for 10 "the web server on port $WEB_PORT" curl -fsS -o /dev/null "http://127.0.0.1:$WEB_PORT/"
}

stop_web() {
    if [ -n "${WEB_PID:-}" ]; then
        kill -TERM "$WEB_PID" 2>/dev/null || true
        wait "$WEB_PID" 2>/dev/null || true
        WEB_PID=
    fi
}
