"""What the tests need around the plain stubs: channels that reconnect fast, and what an error says."""

import time

import grpc

import stubs
from region import Trouble

EXCLUSIVE = stubs.common_pb2.LOCK_MODE_EXCLUSIVE
SHARED = stubs.common_pb2.LOCK_MODE_SHARED
GRANTED = stubs.lock_pb2.ACQUIRE_RESULT_GRANTED
HELD = stubs.lock_pb2.ACQUIRE_RESULT_HELD
TIMED_OUT = stubs.lock_pb2.ACQUIRE_RESULT_TIMED_OUT
ENDED = stubs.lock_pb2.ACQUIRE_RESULT_ENDED
CANCELLED = stubs.lock_pb2.ACQUIRE_RESULT_CANCELLED
LEADER = stubs.admin_pb2.RAFT_ROLE_LEADER
FOLLOWER = stubs.admin_pb2.RAFT_ROLE_FOLLOWER

OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100),
           ("grpc.max_reconnect_backoff_ms", 500), ("grpc.enable_retries", 0))
# Within that time gRPC gives up a connection that is not there, handshake and all: long enough for
# a machine with much else to do.
PLAIN_WITHIN_MS, TLS_WITHIN_MS = 1500, 5000

# What a call may meet while a node is being repaired.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
           grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED)

# Reasons with which lockmgr promises that nothing was applied: the rows of base_result.def with N.
NOT_APPLIED = {"INVALID_ARGUMENT", "NOT_FOUND", "STALE_HOLD", "MODE_MISMATCH", "QUOTA_EXCEEDED",
               "OVERLOADED", "NO_LEADER", "NOT_LEADER", "NOT_READY", "WRONG_CLUSTER",
               "UNKNOWN_PEER", "MALFORMED", "TOO_LARGE", "UNIMPLEMENTED", "DRAINING",
               "REQUEST_REUSED", "UNAUTHENTICATED", "SESSION_ENDED", "SESSION_DENIED",
               "REQUEST_TOO_OLD", "WINDOW_FULL", "PERMISSION_DENIED", "WRONG_PORT"}


def channel(address, credentials=None, name=None):
    """name: which the node's certificate must bear, if not that of the address."""
    within = TLS_WITHIN_MS if credentials else PLAIN_WITHIN_MS
    options = OPTIONS + (("grpc.min_reconnect_backoff_ms", within),)
    options += ((("grpc.ssl_target_name_override", name),) if name else ())
    if not credentials:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)


class Client:
    """Stubs of one node."""

    def __init__(self, address, credentials=None, name=None):
        self.channel = channel(address, credentials, name)
        self.locks = stubs.lock_grpc.LockServiceStub(self.channel)
        self.admin = stubs.admin_grpc.AdminServiceStub(self.channel)

    def close(self):
        self.channel.close()

    def acquire(self, name, owner, timeout=10, **fields):
        return self.locks.Acquire(request(name, owner, **fields), timeout=timeout)

    def acquire_later(self, name, owner, timeout=30, **fields):
        """A future: it may have to wait in the queue."""
        return self.locks.Acquire.future(request(name, owner, **fields), timeout=timeout)

    def release(self, name, owner, hold_id, timeout=10, request_id=""):
        return self.locks.Release(stubs.lock_pb2.ReleaseRequest(
            name=name, owner=owner, hold_id=hold_id, request_id=request_id), timeout=timeout)

    def renew(self, name, owner, hold_id, timeout=10, ttl_ms=0):
        return self.locks.Renew(stubs.lock_pb2.RenewRequest(
            name=name, owner=owner, hold_id=hold_id, ttl_ms=ttl_ms), timeout=timeout)

    def cancel(self, owner, request_id, timeout=10):
        return self.locks.Cancel(stubs.lock_pb2.CancelRequest(
            owner=owner, request_id=request_id), timeout=timeout)

    def get(self, name, timeout=10):
        return self.locks.Get(stubs.lock_pb2.GetRequest(name=name), timeout=timeout).lock

    def list(self, prefix="", page_size=0, page_token="", timeout=10):
        return self.locks.List(stubs.lock_pb2.ListRequest(
            prefix=prefix, page_size=page_size, page_token=page_token), timeout=timeout)

    def status(self, timeout=5):
        return self.admin.GetStatus(stubs.admin_pb2.GetStatusRequest(), timeout=timeout)


def request(name, owner, request_id="", mode=EXCLUSIVE, ttl_ms=0, wait_ms=0):
    return stubs.lock_pb2.AcquireRequest(name=name, owner=owner, request_id=request_id, mode=mode,
                                         ttl_ms=ttl_ms, wait_ms=wait_ms)


class Refusal:
    """What an RpcError says: gRPC code, lockmgr's own reason (None if it is not from lockmgr), the
    fields of a BadRequest, the pause of a RetryInfo in seconds."""

    def __init__(self, error):
        self.code, self.text = error.code(), error.details() or ""
        self.reason, self.fields, self.retry_after = None, [], None
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self._read(value)

    def _read(self, value):
        status = stubs.status_pb2.Status.FromString(value)
        for detail in status.details:
            kind = detail.type_url.rsplit("/", 1)[-1]
            if kind == "google.rpc.ErrorInfo":
                info = stubs.error_details_pb2.ErrorInfo.FromString(detail.value)
                if info.domain == "lockmgr":
                    self.reason = info.reason
            elif kind == "google.rpc.BadRequest":
                bad = stubs.error_details_pb2.BadRequest.FromString(detail.value)
                self.fields += [violation.field for violation in bad.field_violations]
            elif kind == "google.rpc.RetryInfo":
                delay = stubs.error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                self.retry_after = delay.seconds + delay.nanos / 1e9

    @property
    def not_applied(self):
        return self.reason in NOT_APPLIED

    def __repr__(self):
        return "%s reason=%s fields=%s: %s" % (self.code, self.reason, self.fields, self.text)


def refusal_of(call):
    """Runs call(); returns how it was refused, or fails if it was not."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return Refusal(error)
    raise AssertionError("was not refused: %s" % answer)


def wait_for_answer(call, seconds=20):
    """Repeats a call until it is answered with OK; returns the answer. Other errors than those of
    a node that is being repaired are raised at once."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in PASSING:
                raise AssertionError("refused: %s" % Refusal(error)) from error
            if time.monotonic() > end:
                raise Trouble("no answer within %g s: %s" % (seconds, Refusal(error))) from error
        time.sleep(0.05)


def wait_for_refusal(call, seconds=20):
    """Repeats a call while nobody is there to judge it; returns the refusal it then gets."""
    end = time.monotonic() + seconds
    while True:
        refusal = refusal_of(call)
        if refusal.code not in PASSING or time.monotonic() > end:
            return refusal
        time.sleep(0.05)
