#!/usr/bin/python3
"""Checks the rules of the house: who may include whom, who may open which third-party door, that the
pure code calls nothing that touches the world, and the style that a machine can see.

usage: check_house.py SOURCE_DIR [CORE_ARCHIVE]
"""
import os
import re
import subprocess
import sys

# Which of our folders a folder may include from, besides itself.
MAY_INCLUDE = {
    "lib/base": [],
    "lib/core": ["lib/base"],
    "lib/wire": ["lib/base", "lib/core"],
    "lib/act": ["lib/base", "lib/core", "lib/wire"],
    "lib/crc": ["lib/base"],
    "lib/tls": ["lib/base"],
    "supervisor": ["lib/base", "lib/core", "lib/wire", "lib/act", "lib/tls"],
    "actors/raft": ["lib/base", "lib/core", "lib/wire", "lib/act", "lib/crc"],
    "actors/lock": ["lib/base", "lib/core", "lib/wire", "lib/act", "lib/crc"],
    "actors/region_gateway": ["lib/base", "lib/core", "lib/wire", "lib/act"],
    "actors/grpc_frontend": ["lib/base", "lib/core", "lib/wire", "lib/act", "lib/tls"],
    "actors/health": ["lib/base", "lib/core", "lib/wire", "lib/act", "lib/tls"],
    # The one place that links all five actors.
    "actors/node": ["lib/base", "lib/core", "lib/wire", "lib/act", "supervisor", "actors/raft", "actors/lock",
                    "actors/region_gateway", "actors/grpc_frontend", "actors/health"],
    "clients/c": ["lib/base", "lib/wire", "lib/tls"],
    "tools/lockctl": ["lib/base", "lib/wire", "clients/c"],
    "tools/lockbench": ["lib/base", "lib/wire", "clients/c"],
    "tools/fill": ["lib/base", "lib/wire", "clients/c", "tools/lockbench"],
}

# Third-party headers and the only places that may include them.
DOORS = {
    r"protobuf-c/": ["lib/wire"],
    r".*\.pb-c\.h": ["lib/wire", "tools/lockbench/bench_etcd.c"],
    r"(czmq|zmq)\.h": ["lib/act"],
    r"libconfig\.h": ["supervisor/sup_config.c"],
    r"(raft|uv)\.h|raft/": ["actors/raft"],
    r"grpc/": ["actors/grpc_frontend", "clients/c", "tools/lockbench"],
    r"openssl/": ["lib/tls"],
    r"isa-l/.*": ["lib/crc/crc.c"],
    r"microhttpd\.h": ["actors/health"],
    r"jansson\.h": ["actors/health", "tools"],
}

# What pure code must not call: the clock, files, sockets, threads, chance, the environment.
IMPURE = re.compile(
    r"^(time|clock|clock_gettime|gettimeofday|nanosleep|sleep|usleep|open|openat|fopen|read|write|pread|pwrite|"
    r"socket|connect|bind|poll|epoll_\w+|pthread_\w+|rand|random|srand|getrandom|getenv|fork|exec\w*|"
    r"printf|puts|fprintf|fwrite)$")

LINE_MAX, FILE_MAX = 100, 800


def folder_of(path):
    for folder in sorted(MAY_INCLUDE, key=len, reverse=True):
        if path.startswith(folder + "/"):
            return folder
    return None


def sources(root):
    out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.c", "*.h", "*.def"],
                         capture_output=True, text=True, check=True).stdout
    return [p for p in out.splitlines() if os.path.exists(os.path.join(root, p))]


def check_includes(path, text, headers, problems):
    folder = folder_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if not match:
            continue
        included = match.group(1)
        for door, keepers in DOORS.items():
            if re.fullmatch(door + r".*", included) and not path.startswith("tests/"):
                if not any(path.startswith(k) for k in keepers):
                    problems.append(f"{path}:{number}: {included} may only be included by {', '.join(keepers)}")
        owner = headers.get(os.path.basename(included))
        if folder is None or owner is None or owner == folder:
            continue
        if owner not in MAY_INCLUDE[folder]:
            problems.append(f"{path}:{number}: {folder} may not include {included} of {owner}")


def check_style(path, text, problems):
    lines = text.splitlines()
    if len(lines) > FILE_MAX and not path.startswith("tests/"):
        problems.append(f"{path}: {len(lines)} lines, at most {FILE_MAX}")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX and not path.endswith(".def"):
            problems.append(f"{path}:{number}: {len(line)} columns, at most {LINE_MAX}")
        if "\t" in line:
            problems.append(f"{path}:{number}: a tab")


def check_names(paths, problems):
    seen = {}
    for path in paths:
        name = os.path.basename(path)
        if name in seen:
            problems.append(f"{path}: {seen[name]} has the same name")
        seen[name] = path


def check_core(archive, problems):
    out = subprocess.run(["nm", "--undefined-only", "--format=posix", archive], capture_output=True, text=True,
                         check=True).stdout
    for line in out.splitlines():
        name = line.split(" ")[0].split("@")[0]
        if IMPURE.match(name):
            problems.append(f"lib/core calls {name}: pure code must not touch the world")
    # Constant tables with addresses in them stand in .data.rel.ro: those are fine.
    out = subprocess.run(["nm", "--format=sysv", archive], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 7 and re.match(r"\.(data|bss)(?!\.rel\.ro)|\*COM\*", parts[6]) and parts[3] == "OBJECT":
            problems.append(f"lib/core has the variable {parts[0]}: pure code keeps no state of its own")


def main():
    root = sys.argv[1]
    paths = sources(root)
    headers = {os.path.basename(p): folder_of(p) for p in paths if p.endswith(".h") and folder_of(p)}
    problems = []
    check_names(paths, problems)
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        check_includes(path, text, headers, problems)
        check_style(path, text, problems)
    if len(sys.argv) > 2 and os.path.exists(sys.argv[2]):
        check_core(sys.argv[2], problems)
    for problem in problems:
        print(problem)
    print(f"{len(paths)} files looked at, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
