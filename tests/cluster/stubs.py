"""Plain Python stubs, made from the published protos as any user would make them.

    from stubs import lock_pb2, lock_grpc, admin_pb2, ...

Made once per build into LM_STUBS (or a temporary folder) and again when a proto is newer. The protos
of grpc.* and google.rpc are copied to other paths first: their own would hide the Python packages
"grpc" and "google". Their messages and services keep their names, so the wire is the same.

gRPC in Python looks at its connections while a call waits, and otherwise every five seconds. Calls
that fail at once because nobody listens therefore never see the node come back; programs use
wait_for_ready=True against that, these tests, which want to see the failures, the variable below.
"""

import atexit
import fcntl
import importlib
import os
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "50")

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROTO = os.path.join(ROOT, "proto")
PLUGIN = "/usr/bin/grpc_python_plugin"

OURS = ("lockmgr/v1/common.proto", "lockmgr/v1/lock_service.proto",
        "lockmgr/v1/admin_service.proto", "lockmgr/peer/v1/call.proto",
        "lockmgr/peer/v1/raft_service.proto", "lockmgr/region/v1/region_service.proto")
COPIED = {"grpc/health/v1/health.proto": "std/health.proto",
          "grpc/reflection/v1/reflection.proto": "std/reflection_v1.proto",
          "grpc/reflection/v1alpha/reflection.proto": "std/reflection_v1alpha.proto",
          "google/rpc/status.proto": "std/status.proto",
          "google/rpc/error_details.proto": "std/error_details.proto"}


def _folder():
    folder = os.environ.get("LM_STUBS")
    if not folder:
        folder = tempfile.mkdtemp(prefix="lmstubs")
        atexit.register(shutil.rmtree, folder, True)
    os.makedirs(folder, exist_ok=True)
    return folder


def _stale(stamp):
    if not os.path.exists(stamp):
        return True
    made = os.path.getmtime(stamp)
    return any(os.path.getmtime(os.path.join(PROTO, path)) > made for path in (*OURS, *COPIED))


def _generate(folder):
    copies = os.path.join(folder, "protos")
    os.makedirs(os.path.join(copies, "std"), exist_ok=True)
    for path, copy in COPIED.items():
        shutil.copy(os.path.join(PROTO, path), os.path.join(copies, copy))
    subprocess.run(["protoc", "-I" + PROTO, "-I" + copies, "--python_out=" + folder,
                    "--plugin=protoc-gen-grpc_python=" + PLUGIN, "--grpc_python_out=" + folder,
                    *OURS, *COPIED.values()], check=True)


def _load():
    folder = _folder()
    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = os.path.join(folder, "stamp")
        if _stale(stamp):
            _generate(folder)
            open(stamp, "w").close()
    sys.path.insert(0, folder)
    return folder


if not os.path.exists(PLUGIN):
    print("skipped: %s is missing (package protobuf-compiler-grpc)" % PLUGIN)
    sys.exit(77)
FOLDER = _load()  # where they are


def _module(name):
    return importlib.import_module(name)


common_pb2 = _module("lockmgr.v1.common_pb2")
lock_pb2 = _module("lockmgr.v1.lock_service_pb2")
lock_grpc = _module("lockmgr.v1.lock_service_pb2_grpc")
admin_pb2 = _module("lockmgr.v1.admin_service_pb2")
admin_grpc = _module("lockmgr.v1.admin_service_pb2_grpc")
peer_pb2 = _module("lockmgr.peer.v1.raft_service_pb2")
peer_grpc = _module("lockmgr.peer.v1.raft_service_pb2_grpc")
region_pb2 = _module("lockmgr.region.v1.region_service_pb2")
region_grpc = _module("lockmgr.region.v1.region_service_pb2_grpc")
health_pb2 = _module("std.health_pb2")
health_grpc = _module("std.health_pb2_grpc")
reflection_pb2 = _module("std.reflection_v1_pb2")
reflection_grpc = _module("std.reflection_v1_pb2_grpc")
reflection_alpha_pb2 = _module("std.reflection_v1alpha_pb2")
reflection_alpha_grpc = _module("std.reflection_v1alpha_pb2_grpc")
status_pb2 = _module("std.status_pb2")
error_details_pb2 = _module("std.error_details_pb2")
