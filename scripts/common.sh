# shellcheck shell=bash disable=SC2034 # what is set here is used by those who source it
# Shared by the scripts; sourced, not run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
started=$SECONDS

# say WORDS: one line of progress with the seconds since the script began.
say() { printf '[%4ds] %s\n' $((SECONDS - started)) "$*"; }

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# quietly LOG COMMAND...: runs a command with its output in LOG; shows a dot every five seconds, and
# the end of the log if it fails.
quietly() {
    local log=$1 dots=
    shift
    "$@" >"$log" 2>&1 &
    local pid=$! waited=0
    while kill -0 $pid 2>/dev/null; do
        sleep 0.2
        waited=$((waited + 1))
        if [ $((waited % 25)) = 0 ]; then
            printf '.'
            dots=yes
        fi
    done
    [ -z "$dots" ] || printf '\n'
    wait $pid && return 0
    tail -n 40 "$log" >&2
    fail "failed: $* (whole output: $log)"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "root is needed for: $*"
    fi
}

build_packages="gcc cmake ninja-build pkg-config libc6-dev libczmq-dev libzmq3-dev libprotobuf-c-dev
 protobuf-c-compiler protobuf-compiler libprotobuf-dev libgrpc-dev libssl-dev libconfig-dev libuv1-dev
 libmicrohttpd-dev libisal-dev uthash-dev libjansson-dev libgsl-dev python3 python3-protobuf ca-certificates"
test_packages="g++ git openssl libcriterion-dev python3-grpcio protobuf-compiler-grpc procps python3-yaml
 python3-jsonschema binutils iproute2 mmdebstrap runc systemd dpkg-dev docker-compose"
full_test_packages="buildah"
# gRPC of Debian 12 goes with either protobuf; what protoc-gen-go writes needs the newer one.
go_packages="golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev protoc-gen-go
 protoc-gen-go-grpc"
fuzz_packages="clang"
lint_packages="clang-format clang-tidy shellcheck golang-go"

missing_of() {
    local p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$p"
    done
}

# The consensus engine must be 0.22.1 or a later 0.22. Plain Debian 12 has an older one; the wanted
# one is in its backports suite, on the mirror the system already uses.
have_raft() { pkg-config --exists 'raft >= 0.22.1 raft < 0.23' 2>/dev/null; }

add_backports() {
    local codename list=/etc/apt/sources.list.d/lockmgr-backports
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    if [ -f /etc/apt/sources.list.d/debian.sources ]; then
        awk -v suite="$codename-backports" '
            /^Suites:/ { if (!done) { print "Suites: " suite; done = 1; next } }
            /^$/ { exit }
            !/^#/' /etc/apt/sources.list.d/debian.sources | as_root tee $list.sources >/dev/null
    elif [ -f /etc/apt/sources.list ]; then
        awk -v suite="$codename-backports" -v plain="$codename" '
            $1 == "deb" && $0 ~ " " plain " " && !done { sub(" " plain " ", " " suite " "); print; done = 1 }' \
            /etc/apt/sources.list | as_root tee $list.list >/dev/null
    fi
}

apt_install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

install_raft() {
    apt_install pkg-config
    apt_install libraft-dev
    have_raft && return
    add_backports
    as_root apt-get update
    apt_install -t "$(. /etc/os-release && echo "$VERSION_CODENAME")-backports" libraft-dev
    have_raft || { echo "no libraft 0.22.1 or newer 0.22 to be had" >&2; return 1; }
}

install_all() {
    as_root apt-get update
    # shellcheck disable=SC2086 # a list of packages
    [ -z "$1" ] || apt_install $1 || return 1
    have_raft || install_raft
}

# have_libfuzzer: whether clang can link a fuzzer here.
have_libfuzzer() {
    local dir good=1
    command -v clang >/dev/null || return 1
    dir=$(mktemp -d)
    echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }' >"$dir/f.c"
    clang -fsanitize=fuzzer,address,undefined -o "$dir/f" "$dir/f.c" 2>/dev/null && good=0
    rm -rf "$dir"
    return $good
}

# install_packages NAMES...: makes sure that they are there, and the consensus engine too.
install_packages() {
    local missing
    command -v apt-get >/dev/null || { say "no apt-get here: taking the libraries as they are"; return; }
    missing=$(missing_of "$@")
    if [ -z "$missing" ] && have_raft; then return; fi
    say "installing packages: ${missing:-}$(have_raft || echo libraft-dev)"
    quietly /tmp/lockmgr-install.$$.log install_all "$missing"
    rm -f /tmp/lockmgr-install.$$.log
}

# install_go: what the example in Go is built with; where it is not to be had, its tests are skipped.
install_go() {
    # shellcheck disable=SC2086 # a list of packages
    (install_packages $go_packages) || say "going on without Go"
}

# install_fuzzer: the compiler of the fuzzers; their runtime is in a package of its version.
install_fuzzer() {
    local runtime
    # shellcheck disable=SC2086 # a list of packages
    install_packages $fuzz_packages
    runtime=libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev
    if ! have_libfuzzer && apt-cache show "$runtime" >/dev/null 2>&1; then install_packages "$runtime"; fi
}

# build_preset NAME [TARGETS...]: configures and builds into the preset's directory.
build_preset() {
    local preset=$1 dir
    shift
    case $preset in
    release) dir=build ;;
    *) dir=build-$preset ;;
    esac
    mkdir -p "$dir"
    local launcher=()
    command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    say "building ($preset) in $dir"
    quietly "$dir/configure.log" cmake --preset "$preset" "${launcher[@]}" "${configure_args[@]}"
    quietly "$dir/build.log" cmake --build "$dir" ${1:+--target "$@"}
}
configure_args=()
