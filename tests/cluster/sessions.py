"""A session as a generic client has it: the plain stubs, a thread that keeps it alive, one number after
the other."""

import itertools
import threading
import time
import uuid

import grpc

import stubs
from calls import PASSING, wait_for_answer

pb = stubs.lock_pb2


class Session:
    """Calls go to the clients (calls.Client) in turn and are repeated with the same number."""

    def __init__(self, clients, name, ttl_ms=5000):
        self.clients = itertools.cycle(clients)
        opening = pb.OpenSessionRequest(client=name, request_id=uuid.uuid4().hex, ttl_ms=ttl_ms)
        self.begun = time.monotonic()
        answer = self.repeat("OpenSession", opening)
        self.id, self.secret, self.ttl_ms = answer.session_id, answer.secret, answer.ttl_ms
        self.safe_until = self.begun + answer.lease_remaining_ms / 1000
        self.number, self.done_below = 0, 1
        self.narrowest, self.keep_alives, self.lost = self.ttl_ms / 1000, 0, None
        self.last = None
        self._stop, self._thread = threading.Event(), None

    def repeat(self, method, request, timeout=2, seconds=20):
        return wait_for_answer(lambda: getattr(next(self.clients).locks, method)(
            request, timeout=timeout), seconds)

    def part(self, number=None, **other):
        """The session part of a request; a number of its own unless one is given."""
        if number is None:
            self.number += 1
            number = self.number
        fields = {"session_id": self.id, "secret": self.secret, "request_number": number,
                  "done_below": self.done_below, **other}
        return pb.SessionPart(**fields)

    def acquire(self, name, wait_ms=0, number=None, **other):
        answer = self.repeat("Acquire", self.acquiring(name, wait_ms, number, **other))
        self.done_below = self.number + 1
        return answer

    def acquiring(self, name, wait_ms=0, number=None, **other):
        return pb.AcquireRequest(name=name, wait_ms=wait_ms, session=self.part(number, **other))

    def release(self, name, hold_id):
        request = pb.ReleaseRequest(name=name, hold_id=hold_id, session=self.part())
        answer = self.repeat("Release", request)
        self.done_below = self.number + 1
        return answer

    def keeping(self, **other):
        fields = {"session_id": self.id, "secret": self.secret, "done_below": self.done_below,
                  **other}
        return pb.KeepAliveRequest(**fields)

    def keep_alive(self, **other):
        return self.repeat("KeepAlive", self.keeping(**other))

    def close(self):
        self.stop_keeping()
        return self.repeat("CloseSession",
                           pb.CloseSessionRequest(session_id=self.id, secret=self.secret))

    # ---- the thread ----

    def keep(self):
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return self

    def stop_keeping(self):
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _keep(self):
        while not self._stop.is_set() and not self.lost:
            sent = time.monotonic()
            try:
                answer = next(self.clients).locks.KeepAlive(self.keeping(), timeout=1)
            except grpc.RpcError as error:
                if error.code() not in PASSING:
                    self.lost = error
                continue
            finally:
                if time.monotonic() > self.safe_until:
                    self.lost = self.lost or "no answer for %d ms" % self.ttl_ms
            if answer.result != pb.KEEP_ALIVE_RESULT_ALIVE:
                self.lost = pb.KeepAliveResult.Name(answer.result)
                return
            self.last, self.keep_alives = answer, self.keep_alives + 1
            self.narrowest = min(self.narrowest, self.safe_until - time.monotonic())
            self.safe_until = sent + answer.lease_remaining_ms / 1000
            self._stop.wait(self.ttl_ms / 3000)
