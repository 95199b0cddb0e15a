"""The limits of sessions, at their value and at one more. tests/hostile/test_limits.py has those of
requests without one."""

import grpc

import stubs
from calls import GRANTED, wait_for_answer
from cluster_case import ClusterCase, main
from region import wait_for
from sessions import Session

pb = stubs.lock_pb2
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
SESSIONS, HOLDS, WAITERS, LOCKS = 4, 5, 3, 8


class Quotas(ClusterCase):
    N_NODES = 1
    SETTINGS = {"limits": {"sessions_max": SESSIONS, "holds_per_owner_max": HOLDS,
                           "waiters_per_lock_max": WAITERS, "locks_max": LOCKS}}

    def setUp(self):
        self.client = self.region.node(1).client
        wait_for_answer(lambda: self.client.get("quotas/any"))

    def open(self, name):
        session = Session([self.client], name, 60000)
        self.addCleanup(session.close)
        return session

    def opened(self):
        return len(self.client.locks.ListSessions(pb.ListSessionsRequest(), timeout=5).sessions)

    def assert_over(self, call, field, words):
        refusal = self.assert_refused(call, EXHAUSTED, "QUOTA_EXCEEDED", field)
        self.assertIn(words, refusal.text)

    def test_sessions_of_the_region(self):
        sessions = [Session([self.client], "s%d" % i, 60000) for i in range(SESSIONS)]
        request = pb.OpenSessionRequest(client="more", request_id="1", ttl_ms=60000)
        call = lambda: self.client.locks.OpenSession(request, timeout=5)
        self.assert_over(call, "client", "limits.sessions_max is reached: %d sessions" % SESSIONS)
        self.assertEqual(self.opened(), SESSIONS)
        # Those that are there are served, and a lock without a session is none.
        self.assert_granted(sessions[0].acquire("quotas/in"))
        plain = self.assert_granted(self.client.acquire("quotas/plain", "me"))
        self.client.release("quotas/plain", "me", plain.hold_id)
        sessions.pop().close()
        answer = call()
        self.client.locks.CloseSession(pb.CloseSessionRequest(
            session_id=answer.session_id, secret=answer.secret), timeout=5)
        for session in sessions:
            session.close()
        self.assertEqual(self.opened(), 0)

    def test_holds_and_waits_of_a_session(self):
        session, other = self.open("greedy"), self.open("other")
        taken = self.assert_granted(other.acquire("quotas/taken"))
        holds = [self.assert_granted(session.acquire("quotas/%d" % i)) for i in range(HOLDS - 1)]
        wait = self.client.locks.Acquire.future(
            session.acquiring("quotas/taken", wait_ms=-1), timeout=30)
        wait_for("it waits", lambda: self.client.get("quotas/taken").waiter_count, 10)
        more = session.acquiring("quotas/more")
        call = lambda: self.client.locks.Acquire(more, timeout=5)
        self.assert_over(call, "session", "limits.holds_per_owner_max is reached: %d" % HOLDS)
        # Another session of the same client has its own count.
        self.assert_granted(other.acquire("quotas/others"))
        session.release("quotas/0", holds[0].hold_id)
        self.assert_granted(call())
        other.release("quotas/taken", taken.hold_id)
        self.assertEqual(wait.result().result, GRANTED)

    def test_locks_of_the_region(self):
        sessions = [self.open("s0"), Session([self.client], "s1", 60000)]
        for i in range(LOCKS):
            self.assert_granted(sessions[i % 2].acquire("quotas/lock/%d" % i))
        request = sessions[0].acquiring("quotas/lock/more")
        call = lambda: self.client.locks.Acquire(request, timeout=5)
        self.assert_over(call, "name", "limits.locks_max is reached: %d locks" % LOCKS)
        sessions[1].close()
        self.assert_granted(call())

    def test_waiters_of_one_lock(self):
        holder, first, second = self.open("holder"), self.open("first"), self.open("second")
        self.assert_granted(holder.acquire("quotas/hot"))
        waits = [self.client.locks.Acquire.future(
            session.acquiring("quotas/hot", wait_ms=-1), timeout=30) for session in (first, second)]
        waits.append(self.client.acquire_later("quotas/hot", "plain", wait_ms=-1))
        wait_for("all wait", lambda: self.client.get("quotas/hot").waiter_count == WAITERS, 10)
        self.assert_over(lambda: self.client.acquire("quotas/hot", "last", wait_ms=-1),
                         "name", "limits.waiters_per_lock_max is reached: %d calls" % WAITERS)
        for wait in waits:
            wait.cancel()
        wait_for("nobody waits", lambda: not self.client.get("quotas/hot").waiter_count, 10)


if __name__ == "__main__":
    main()
