# shellcheck shell=bash disable=SC2034,SC2154 # shared with those who source it
# The region that scripts/up starts: where it is and how its nodes are started and stopped. Sourced.
region_dir=${LOCKMGR_UP_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/lockmgr}
region_run=${LOCKMGR_UP_RUN:-}
if [ -z "$region_run" ]; then
    if [ -w "${XDG_RUNTIME_DIR:-/nonexistent}" ]; then region_run=$XDG_RUNTIME_DIR/lockmgr
    else region_run=/tmp/lockmgr-$(id -u)
    fi
fi
offset=${LOCKMGR_UP_OFFSET:-0}
lockctl_hint=

# port BASE NODE
port() { echo $(($1 + 100 * ($2 - 1) + offset)); }

region_endpoints() {
    local n list=
    for n in $(seq "$1"); do list=$list,127.0.0.1:$(port 9090 "$n"); done
    echo "${list#,}"
}

peers_of() {
    local n
    for n in $(seq "$1"); do
        printf '    { name = "n%d"; host = "127.0.0.1"; grpc_port = %d; }' "$n" "$(port 9090 "$n")"
        [ "$n" = "$1" ] || printf ','
        printf '\n'
    done
}

# write_config NODE NODES: the configuration of one node, made anew at every start.
write_config() {
    mkdir -p "$region_dir/n$1/data"
    cat >"$region_dir/n$1/lockmgr.cfg" <<END
# Written by scripts/up; deploy/lockmgr.cfg explains every key.
node = "n$1";
data_dir = "$region_dir/n$1/data";
run_dir = "$region_run/n$1";
listen = "127.0.0.1";
peer_auth = "trusted";
region = { id = "local"; };
service = {
    grpc_port = $(port 9090 "$1");
    region_port = $(port 9091 "$1");
    actuator_port = $(port 8080 "$1");
};
peers = (
$(peers_of "$2")
);
END
}

# pid_of NODE: of its running supervisor, or of the one process that is the node; nothing if it does
# not run.
pid_of() {
    local pid
    pid=$(cat "$region_dir/n$1/pid" 2>/dev/null) || return 0
    if [ -n "$pid" ] && grep -qzE 'lockmgr(d|-node)$' "/proc/$pid/cmdline" 2>/dev/null; then echo "$pid"; fi
}

node_runs() { [ -n "$(pid_of "$1")" ]; }

# start_node NODE ARGS...: more arguments for lockmgrd.
start_node() {
    setsid "$root/build/bin/lockmgrd" --config "$region_dir/n$1/lockmgr.cfg" "${@:2}" \
        >>"$region_dir/n$1/log" 2>&1 </dev/null &
    echo $! >"$region_dir/n$1/pid"
    disown
}

# link_lockctl: puts lockctl on PATH, or says how to call it.
link_lockctl() {
    local bin
    for bin in /usr/local/bin "$HOME/.local/bin"; do
        case :$PATH: in *:$bin:*) ;; *) continue ;; esac
        if mkdir -p "$bin" 2>/dev/null && ln -sf "$root/build/bin/lockctl" "$bin/lockctl" 2>/dev/null; then
            [ "$offset" = 0 ] || lockctl_hint="--endpoints 127.0.0.1:$(port 9090 1) "
            return
        fi
    done
    say "no folder on PATH can be written: call $root/build/bin/lockctl"
}

wait_for_lock() {
    local until=$((SECONDS + 60))
    while [ $SECONDS -lt $until ]; do
        if "$root/build/bin/lockctl" --endpoints "$1" --timeout 2s run lockmgr/ready -- true 2>/dev/null
        then return 0; fi
        for n in $(seq "$nodes"); do
            node_runs "$n" || { tail -n 40 "$region_dir/n$n/log" | grep ' error ' >&2 || true; fail "node n$n has ended; see $region_dir/n$n/log"; }
        done
        sleep 0.2
    done
    return 1
}
