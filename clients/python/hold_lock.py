#!/usr/bin/env python3
"""Holds a lock while it works, with nothing but the protos and gRPC for Python.

    protoc -Iproto --python_out=. --plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin \\
           --grpc_python_out=. lockmgr/v1/common.proto lockmgr/v1/lock_service.proto
    PYTHONPATH=. clients/python/hold_lock.py 127.0.0.1:9090 orders/42 5

With TLS it takes --cacert, --cert, --key, --server-name and --token-file, or LOCKCTL_CACERT and so
on and LOCKCTL_TOKEN from the environment, as lockctl does.

Works for 5 seconds, prints the token first and how it went last. Exit status: 0 done, 1 not
acquired, 2 wrong options, 3 no answer, 4 lost while it worked, 5 denied.
"""

import argparse
import os
import sys
import threading
import time
import uuid

import grpc

from lockmgr.v1 import lock_service_pb2 as pb
from lockmgr.v1 import lock_service_pb2_grpc as rpc

# Calls that met this are repeated. With the same request id that is safe: there is one true answer.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED)
DENIED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
CALL_SECONDS = 5


def now():
    """A clock that counts on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class NotAcquired(Exception):
    """Somebody else held the lock all the time."""


class Lock:
    """with Lock(service, "orders/42", wait=10) as lock: ... while lock.is_safe(): ..."""

    def __init__(self, service, name, ttl=10, wait=0):
        self.service, self.name, self.ttl, self.wait = service, name, ttl, wait
        self.owner = "python-" + uuid.uuid4().hex  # a name that nobody else has
        self.token = self.hold_id = None
        self.safe_until = 0
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._keep, daemon=True)

    def is_safe(self):
        """False: stop using what the lock protects at once."""
        return now() < self.safe_until

    def __enter__(self):
        answer, sent = self._repeat(self.service.Acquire, self.wait + CALL_SECONDS, pb.AcquireRequest(
            name=self.name, owner=self.owner, request_id=uuid.uuid4().hex,
            ttl_ms=int(self.ttl * 1000), wait_ms=int(self.wait * 1000)))
        if answer.result != pb.ACQUIRE_RESULT_GRANTED:
            raise NotAcquired(pb.AcquireResult.Name(answer.result))
        self.token, self.hold_id = answer.token, answer.hold_id
        self.ttl = answer.ttl_ms / 1000  # what was applied
        self._note(sent, answer.lease_remaining_ms)
        self._renewer.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._renewer.join()
        self.safe_until = 0
        try:
            self._repeat(self.service.Release, CALL_SECONDS, pb.ReleaseRequest(
                name=self.name, owner=self.owner, hold_id=self.hold_id,
                request_id=uuid.uuid4().hex))
        except grpc.RpcError as error:
            # It is over anyway, or will be when its lease has run out.
            print("not released:", error.details(), file=sys.stderr)

    @staticmethod
    def _repeat(method, seconds, request):
        """Calls until there is an answer, or an error that a repeat does not cure, or the time is
        over. Returns the answer and when its call was sent: the lease counts from that moment."""
        end = now() + seconds
        while True:
            sent = now()
            try:
                return method(request, timeout=max(0.1, end - sent), wait_for_ready=True), sent
            except grpc.RpcError as error:
                if error.code() not in PASSING or now() > end:
                    raise
                time.sleep(0.1)

    def _note(self, sent, lease_remaining_ms):
        """Less 1 % and 50 ms: clocks do not run alike."""
        self.safe_until = sent + lease_remaining_ms / 1000 * 0.99 - 0.05

    def _keep(self):
        """Renews at a third of the lease, until the lock is given back or lost."""
        request = pb.RenewRequest(name=self.name, owner=self.owner, hold_id=self.hold_id)
        try:
            while not self._done.wait(self.ttl / 3):
                answer, sent = self._repeat(self.service.Renew, self.safe_until - now(), request)
                self._note(sent, answer.lease_remaining_ms)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                self.safe_until = 0  # STALE_HOLD: it has ended


def read_options():
    """What the command line does not say comes from the environment."""
    options = argparse.ArgumentParser()
    options.add_argument("address")
    options.add_argument("name")
    options.add_argument("seconds", type=float)
    for option in ("cacert", "cert", "key", "server-name", "token-file"):
        variable = "LOCKCTL_" + option.upper().replace("-", "_")
        options.add_argument("--" + option, default=os.environ.get(variable))
    found = options.parse_args()
    # Never on the command line itself, where everybody on the machine can read it.
    by_option = found.token_file != os.environ.get("LOCKCTL_TOKEN_FILE")
    found.token = None if by_option else os.environ.get("LOCKCTL_TOKEN")
    if found.token_file and not found.token:
        found.token = read(found.token_file).decode().strip()
    if bool(found.cert) != bool(found.key):
        options.error("a certificate and its key are given together")
    if not found.cacert and (found.token or found.cert or found.server_name):
        options.error("a token or certificate needs --cacert, the authority that signs the nodes")
    return found


def read(path):
    with open(path, "rb") as file:
        return file.read()


def open_channel(options):
    """TLS with --cacert, else plaintext. A certificate or a token says who this client is."""
    if not options.cacert:
        return grpc.insecure_channel(options.address)
    credentials = grpc.ssl_channel_credentials(
        read(options.cacert), options.key and read(options.key),
        options.cert and read(options.cert))
    if options.token:
        credentials = grpc.composite_channel_credentials(
            credentials, grpc.access_token_call_credentials(options.token))
    name = (("grpc.ssl_target_name_override", options.server_name),) if options.server_name else ()
    return grpc.secure_channel(options.address, credentials, options=name)


def main():
    options = read_options()
    with open_channel(options) as channel:
        try:
            with Lock(rpc.LockServiceStub(channel), options.name, ttl=3, wait=2) as lock:
                print("token", lock.token, flush=True)
                end = now() + options.seconds
                while lock.is_safe() and now() < end:
                    time.sleep(0.05)  # the work; every write takes lock.token along
                lost = not lock.is_safe()
        except NotAcquired as answer:
            print("not acquired:", answer)
            return 1
        except grpc.RpcError as error:
            print("refused: %s: %s" % (error.code().name, error.details()))
            return 5 if error.code() in DENIED else 3
    print("lost" if lost else "done")
    return 4 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
