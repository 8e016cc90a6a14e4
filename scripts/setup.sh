#!/usr/bin/env bash
# Make the project ready to run: system libraries, .venv with the locked packages, the project.
#
#   scripts/setup.sh          what `billing` needs
#   scripts/setup.sh --test   and what the tests need: a browser, PDF tools, a C compiler
#
# Safe to run again; the second time it takes a moment. The user's pip configuration (index, extra
# indexes, find-links, certificate, proxy) is respected. PYTHON names another Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.setup-stamp

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed: apt-get install -y python3.11 python3.11-venv"
}

has_library() { PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | grep -q "[[:space:]]$1 "; }

missing_packages() { # Debian packages that are not there, on one line
    local missing=()
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    fi
    has_library libpango-1.0.so.0 || missing+=(libpango-1.0-0)
    has_library libpangoft2-1.0.so.0 || missing+=(libpangoft2-1.0-0)
    has_library libharfbuzz-subset.so.0 || missing+=(libharfbuzz-subset0)
    [ -e /etc/fonts/fonts.conf ] || missing+=(fontconfig)
    if [ "$for_tests" = yes ]; then
        command -v chromium >/dev/null || missing+=(chromium)
        command -v pdftotext >/dev/null || missing+=(poppler-utils)
        # tests compile a disk that is slow, full or loses power: a library before the servers' own
        command -v cc >/dev/null || missing+=(gcc)
        [ -e /usr/include/dlfcn.h ] || missing+=(libc6-dev)
    fi
    echo "${missing[*]}"
}

install_packages() {
    local missing as_root=()
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
        if ! sudo -n true 2>/dev/null; then
            fail "these system packages are missing; install them and run this again:
    sudo apt-get install -y $missing"
        fi
    fi
    command -v apt-get >/dev/null ||
        fail "install what your system calls these Debian packages, and run this again: $missing"
    say "installing system packages: $missing"
    "${as_root[@]}" apt-get update -q >/dev/null </dev/null || say "apt-get update failed; going on"
    # shellcheck disable=SC2086  # one word per package
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends $missing >/dev/null </dev/null ||
        fail "apt-get install -y $missing did not work; its complaint is above."
}

pip_option() { # the value pip itself would use: environment, then its configuration files
    local variable
    variable=PIP_$(printf '%s' "$1" | tr 'a-z-' 'A-Z_')
    if [ -n "${!variable:-}" ]; then
        printf '%s' "${!variable}"
        return
    fi
    "$venv/bin/python" -m pip config get "install.$1" 2>/dev/null ||
        "$venv/bin/python" -m pip config get "global.$1" 2>/dev/null || true
}

words() { tr -s '[:space:]' "$1" | sed "s/^$1*//; s/$1*\$//"; } # joined by one character

hand_over() { # NAME VALUE: set for uv unless it is empty or the user has set it
    [ -z "$2" ] || [ -n "${!1:-}" ] || export "$1=$2"
}

tell_uv_what_pip_knows() {
    hand_over UV_DEFAULT_INDEX "$(pip_option index-url)"
    hand_over UV_INDEX "$(pip_option extra-index-url | words ' ')"
    hand_over UV_FIND_LINKS "$(pip_option find-links | words ',')"
    hand_over UV_INSECURE_HOST "$(pip_option trusted-host | words ' ')"
    hand_over UV_HTTP_TIMEOUT "$(pip_option timeout)"
    hand_over SSL_CERT_FILE "$(pip_option cert)"
    hand_over ALL_PROXY "$(pip_option proxy)"
    # like pip: the best version of all indexes; the lock's hashes say which file is meant
    hand_over UV_INDEX_STRATEGY unsafe-best-match
}

with_uv() {
    local pip=("$venv/bin/python" -m pip)
    "$venv/bin/uv" --version >/dev/null 2>&1 ||
        "${pip[@]}" install -q --require-hashes -r scripts/uv.txt >/dev/null 2>&1 || return 1
    tell_uv_what_pip_knows
    local uv=("$venv/bin/uv" pip install -q --python "$venv/bin/python")
    "${uv[@]}" --require-hashes --compile-bytecode -r requirements.lock &&
        "${uv[@]}" --no-deps -e .
}

with_pip() {
    say "uv could not do it; pip takes about a minute"
    local pip=("$venv/bin/python" -m pip install -q)
    "${pip[@]}" --require-hashes -r requirements.lock && "${pip[@]}" --no-deps -e .
}

install_python_packages() {
    if [ -d "$venv" ] && ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "$venv is broken; making it anew"
        rm -rf "$venv"
    fi
    [ -d "$venv" ] || "$python" -m venv "$venv"
    say "installing the locked packages"
    with_uv || with_pip || fail "the packages could not be installed; the complaint is above."
}

for_tests=no
case "${1:-}" in
    --test) for_tests=yes ;;
    '') ;;
    *) fail "unknown option $1; there is only --test" ;;
esac
[ "$(uname -s)" = Linux ] || fail "the embedded stack runs on Linux; elsewhere use docker compose."
python=$(find_python)
install_packages
wanted=$(pwd && cat requirements.lock pyproject.toml scripts/setup.sh | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! "$venv/bin/python" -c 'import billing.cli' 2>/dev/null; then
    install_python_packages
    printf '%s\n' "$wanted" >"$stamp"
    say "ready: $venv/bin/billing"
fi
