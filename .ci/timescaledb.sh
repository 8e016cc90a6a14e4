#!/usr/bin/env bash
# Run a command with TEST_DATABASE_URL pointing at a real TimescaleDB on PostgreSQL 17.
#
#   .ci/timescaledb.sh .venv/bin/pytest tests/stack
#
# The server comes from Debian 13 packages in a folder of its own (built once, about 700 MB, no
# effect on the machine's packages), listens on a free loopback port, and is stopped in any case.
# BILLING_TIMESCALE_ROOT moves the folder. Needs root, for debootstrap and chroot.
set -euo pipefail

root=${BILLING_TIMESCALE_ROOT:-/var/cache/otpless-billing/trixie}
suite=trixie
programs=/usr/lib/postgresql/17/bin
partial=$root.partial

fail() {
    printf 'timescaledb: %s\n' "$*" >&2
    exit 1
}

quietly() { # run, and show what was said only when it failed
    local said
    said=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$said" | tail -n 20 >&2; return 1; }
}

debian_mirror() { # the machine's own mirror of Debian's main archive
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' 2>/dev/null |
        head -n 1
}

build_root() {
    printf 'timescaledb: building %s (about a minute, once)\n' "$root"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update -q || fail "apt-get update failed: no package mirror is reachable."
    quietly apt-get install -y -q --no-install-recommends debootstrap debian-archive-keyring ||
        fail "debootstrap could not be installed."
    local mirror proxy
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || fail "no Debian main archive is configured in /etc/apt."
    proxy=$(apt-config shell proxy Acquire::http::Proxy | sed "s/^proxy='\(.*\)'$/\1/")
    [ -z "$proxy" ] || export http_proxy=$proxy
    rm -rf --one-file-system "$partial"
    mkdir -p "$partial"
    quietly debootstrap --variant=minbase "$suite" "$partial" "$mirror" ||
        fail "the mirror in /etc/apt gave no Debian $suite, which has TimescaleDB 2.19."
    cp /etc/resolv.conf "$partial/etc/resolv.conf"
    # packages must neither create a cluster nor start one
    printf '#!/bin/sh\nexit 101\n' >"$partial/usr/sbin/policy-rc.d"
    chmod 755 "$partial/usr/sbin/policy-rc.d"
    mkdir -p "$partial/etc/postgresql-common"
    echo 'create_main_cluster = false' >"$partial/etc/postgresql-common/createcluster.conf"
    quietly chroot "$partial" apt-get update -q || fail "apt-get update failed in $partial."
    quietly chroot "$partial" apt-get install -y -q --no-install-recommends \
        postgresql-17 postgresql-17-timescaledb || fail "TimescaleDB could not be installed."
    chroot "$partial" apt-get clean
    mv "$partial" "$root"
}

ensure_root() {
    mkdir -p "$(dirname "$root")"
    exec 9>"$root.lock"
    flock 9
    [ -x "$root$programs/postgres" ] || build_root
    flock -u 9
    exec 9>&-
}

as_postgres() { # replaces the shell it is called in
    cd /
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC \
        chroot --userspec=postgres:postgres "$root" "$@"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

stop_server() {
    local status=$?
    trap - EXIT
    if [ -n "${server:-}" ] && kill -INT "$server" 2>/dev/null; then
        wait "$server" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$root$data"
    exit "$status"
}

start_server() {
    (as_postgres "$programs/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8) \
        >/dev/null || fail "initdb failed."
    log=$root$data/server.log
    (
        as_postgres "$programs/postgres" -D "$data" \
            -c listen_addresses=127.0.0.1 -c port="$port" -c unix_socket_directories= \
            -c dynamic_shared_memory_type=mmap -c shared_preload_libraries=timescaledb \
            -c timescaledb.license=apache -c timescaledb.telemetry_level=off \
            -c timezone=UTC -c jit=off -c wal_compression=off -c max_connections=200 \
            -c shared_buffers=256MB -c fsync=off -c synchronous_commit=off \
            -c log_min_messages=warning
    ) >"$log" 2>&1 </dev/null &
    server=$!
    for _ in $(seq 1 300); do
        (as_postgres "$programs/pg_isready" -q -h 127.0.0.1 -p "$port") && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$log" >&2
    fail "the server did not start on port $port."
}

[ $# -gt 0 ] || fail "name the command to run, such as: $0 .venv/bin/pytest"
[ "$(id -u)" -eq 0 ] || fail "run it as root: debootstrap and chroot need it."
ensure_root
data=/var/lib/postgresql/run-$$
port=$(free_port)
trap stop_server EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start_server
export TEST_DATABASE_URL=postgresql://postgres@127.0.0.1:$port/postgres
printf 'timescaledb: %s\n' "$TEST_DATABASE_URL"
"$@"
