"""A region that is one Python object: correct about sessions and locks, and as nasty as a test wants.

Answers are lost behind the execution, requests before it, copies of old requests come again. The
rules of S12b are enforced here, and what a client must never do is noted in .complaints.
"""

import random
import threading
import time
from concurrent import futures

import grpc

import stubs
from stubs import lock_pb2

WINDOW = 16
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


class Refused(Exception):
    def __init__(self, reason, code=FAILED_PRECONDITION):
        super().__init__(reason)
        self.reason, self.code = reason, code


class Session:
    def __init__(self, number, ttl_ms):
        self.id, self.secret, self.ttl_ms = "session-%d" % number, "%032x" % number, ttl_ms
        self.holds, self.records, self.done_below, self.version = {}, {}, 0, 0
        self.kept = [time.monotonic()]

    def remaining_ms(self):
        return int(self.ttl_ms - (time.monotonic() - self.kept[-1]) * 1000)


class FakeRegion(stubs.lock_grpc.LockServiceServicer):
    def __init__(self, seed=1):
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.sessions, self.opened, self.tokens, self.complaints = {}, {}, 0, []
        self.lose = self.skip = self.again = 0.0  # how probable each of these is
        self.silent, self.asked, self.copies = False, 0, []
        self.streams, self.mute, self.on_stream = True, False, 0
        self.server = grpc.server(futures.ThreadPoolExecutor(32))
        stubs.lock_grpc.add_LockServiceServicer_to_server(self, self.server)
        self.address = "127.0.0.1:%d" % self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def close(self):
        self.server.stop(0).wait()

    # ---- calls ----

    def _call(self, execute, request, context):
        """One call as it fares on its way."""
        with self.lock:
            if self.silent or self.random.random() < self.skip:
                context.abort(grpc.StatusCode.UNAVAILABLE, "on its way there")
            try:
                answer = execute(request)
            except Refused as refused:
                self._refuse(context, refused)
            if self.random.random() < self.again:
                self._repeat_an_old_one()
            if self.random.random() < self.lose:
                context.abort(grpc.StatusCode.UNAVAILABLE, "on its way back")
        return answer

    @staticmethod
    def _refuse(context, refused):
        info = stubs.error_details_pb2.ErrorInfo(reason=refused.reason, domain="lockmgr")
        status = stubs.status_pb2.Status(code=refused.code.value[0], message=refused.reason)
        status.details.add().Pack(info)
        context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(refused.code, refused.reason)

    def _repeat_an_old_one(self):
        """A copy of a request that has hung somewhere arrives."""
        if self.copies:
            try:
                self._acquire(self.random.choice(self.copies))
            except Refused:
                pass

    def OpenSession(self, request, context):
        return self._call(self._open, request, context)

    def KeepAlive(self, request, context):
        self.asked += 1
        return self._call(self._keep, request, context)

    def KeepAliveStream(self, requests, context):
        if not self.streams:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "not of this version")
        for request in requests:
            if not self.mute:
                self.on_stream += 1
                yield self.KeepAlive(request, context)

    def CloseSession(self, request, context):
        return self._call(self._close, request, context)

    def Acquire(self, request, context):
        return self._call(self._acquire_now, request, context)

    def Release(self, request, context):
        return self._call(self._release, request, context)

    def Cancel(self, request, context):
        return self._call(self._cancel, request, context)

    # ---- what they do ----

    def _open(self, request):
        key = (request.client, request.request_id)
        if key not in self.opened:
            session = Session(1 + len(self.sessions), request.ttl_ms or 30000)
            self.sessions[session.id] = self.opened[key] = session
        session = self.opened[key]
        return lock_pb2.OpenSessionResponse(session_id=session.id, secret=session.secret,
                                            ttl_ms=session.ttl_ms,
                                            lease_remaining_ms=session.remaining_ms())

    def session(self):
        session, = self.sessions.values()
        return session

    def _session(self, part):
        session = self.sessions.get(part.session_id)
        if session is None:
            raise Refused("SESSION_ENDED")
        if session.secret != part.secret:
            raise Refused("SESSION_DENIED", grpc.StatusCode.PERMISSION_DENIED)
        return session

    def _keep(self, request):
        try:
            session = self._session(request)
        except Refused:
            return lock_pb2.KeepAliveResponse(session_id=request.session_id,
                                              result=lock_pb2.KEEP_ALIVE_RESULT_ENDED)
        session.kept.append(time.monotonic())
        self._done_below(session, request.done_below)
        answer = lock_pb2.KeepAliveResponse(
            session_id=session.id, result=lock_pb2.KEEP_ALIVE_RESULT_ALIVE, ttl_ms=session.ttl_ms,
            lease_remaining_ms=session.ttl_ms, holds_version=session.version,
            hold_count=len(session.holds))
        if request.known_holds_version != session.version:
            answer.holds.extend(session.holds.values())
        return answer

    def _close(self, request):
        self._session(request)
        del self.sessions[request.session_id]
        return lock_pb2.CloseSessionResponse()

    @staticmethod
    def _done_below(session, below):
        session.done_below = max(session.done_below, below)
        for key in [key for key in session.records if isinstance(key, int) and
                    key < session.done_below]:
            del session.records[key]

    def _admit(self, request):
        """The session, and the key of the request in it (S12b)."""
        session, part = self._session(request.session), request.session
        self._done_below(session, part.done_below)
        if part.request_number and request.request_id:
            self.complaints.append("a number and an id")
        key = part.request_number or request.request_id
        if not part.request_number or key in session.records:
            return session, key
        if key < session.done_below:
            raise Refused("REQUEST_TOO_OLD")
        if sum(isinstance(one, int) for one in session.records) >= WINDOW:
            self.complaints.append("a full window")
            raise Refused("WINDOW_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED)
        return session, key

    def _acquire_now(self, request):
        self.copies.append(request)
        number, below = request.session.request_number, request.session.done_below
        if number and number < below:
            self.complaints.append("number %d, done below %d" % (number, below))
        return self._acquire(request)

    def _acquire(self, request):
        session, key = self._admit(request)
        if key in session.records:
            return session.records[key]
        if request.name in session.holds:
            hold = session.holds[request.name]
            hold.hold_id += "+"
        else:
            self.tokens += 1
            hold = lock_pb2.SessionHold(name=request.name, token=self.tokens,
                                        hold_id="hold-%d" % self.tokens)
            session.holds[request.name] = hold
        session.version += 1
        session.records[key] = lock_pb2.AcquireResponse(
            result=lock_pb2.ACQUIRE_RESULT_GRANTED, hold_id=hold.hold_id, token=hold.token)
        return session.records[key]

    def _release(self, request):
        session, key = self._admit(request)
        if key in session.records:
            return session.records[key]
        hold = session.holds.get(request.name)
        if hold is None or hold.hold_id != request.hold_id:
            raise Refused("STALE_HOLD")
        del session.holds[request.name]
        session.version += 1
        session.records[key] = lock_pb2.ReleaseResponse(token=hold.token)
        return session.records[key]

    def _cancel(self, request):
        session, key = self._admit(request)
        answer = session.records.get(key)
        for hold in session.holds.values():
            if answer is not None and hold.token == answer.token:
                return lock_pb2.CancelResponse(result=lock_pb2.CANCEL_RESULT_GRANTED,
                                               hold_id=hold.hold_id, token=hold.token)
        session.records[key] = lock_pb2.AcquireResponse(
            result=lock_pb2.ACQUIRE_RESULT_CANCELLED)
        return lock_pb2.CancelResponse(result=lock_pb2.CANCEL_RESULT_CANCELLED)

    # ---- what a test does to it ----

    def plant(self, name):
        """A hold that no living request has asked for."""
        with self.lock:
            self.tokens += 1
            session = self.session()
            session.holds[name] = lock_pb2.SessionHold(name=name, token=self.tokens,
                                                       hold_id="hold-%d" % self.tokens)
            session.version += 1
