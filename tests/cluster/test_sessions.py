"""Sessions at a region of three nodes, by plain stubs: their lease, their ends, numbers, streams; and one
that holds 100 locks while leaders and frontends are killed.

Normally three kills of each kind, with LM_TEST_FULL=1 twenty.
"""

import threading
import time

import grpc

import stubs
from calls import ENDED, GRANTED, HELD, refusal_of
from cluster_case import ClusterCase, main, needs_processes
from region import FULL, wait_for
from sessions import Session

pb = stubs.lock_pb2
KILLS = 20 if FULL else 3
LOCKS = 100
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


class Sessions(ClusterCase):
    N_NODES = 3

    def open(self, name, ttl_ms=30000):
        return Session([node.client for node in self.region.nodes], name, ttl_ms)

    @property
    def locks(self):
        return self.region.nodes[0].client.locks

    def info(self, session):
        return session.repeat("GetSession", pb.GetSessionRequest(session_id=session.id)).session

    def holder(self, name):
        holders = self.region.nodes[1].client.get(name).holders
        return holders[0].session_id or holders[0].owner if holders else None

    # ---- opening, showing, closing ----

    def test_a_session_is_one_at_all_nodes(self):
        session = self.open("teller")
        self.assertRegex(session.id, "^[0-9a-f]{16}$")
        self.assertRegex(session.secret, "^[0-9a-f]{32}$")
        answers = [session.acquire("one/%d" % i) for i in range(3)]
        for answer in answers:
            self.assert_granted(answer)
            self.assertEqual(answer.ttl_ms, 30000)
        holder = self.region.nodes[2].client.get("one/0").holders[0]
        self.assertEqual((holder.owner, holder.session_id, holder.client),
                         ("", session.id, "teller"))
        info = self.info(session)
        self.assertEqual((info.client, info.ttl_ms, info.hold_count), ("teller", 30000, 3))
        self.assertEqual([h.name for h in info.holds], ["one/0", "one/1", "one/2"])
        self.assertEqual([h.token for h in info.holds], [a.token for a in answers])
        self.assertIn(session.id, [s.session_id for s in self.all_sessions()])
        self.assertGreaterEqual(self.region.leader().client.status().sessions, 1)
        session.close()
        self.assertEqual([self.holder("one/%d" % i) for i in range(3)], [None] * 3)
        self.assert_refused(lambda: self.locks.GetSession(
            pb.GetSessionRequest(session_id=session.id), timeout=5),
            grpc.StatusCode.NOT_FOUND, "NOT_FOUND")

    def all_sessions(self):
        found, token = [], ""
        while True:
            page = self.locks.ListSessions(
                pb.ListSessionsRequest(page_size=2, page_token=token), timeout=5)
            found += page.sessions
            token = page.next_page_token
            if not token:
                return found

    def test_a_repeat_of_the_opening_gets_the_same_secret(self):
        request = pb.OpenSessionRequest(client="twice", request_id="1", ttl_ms=10000)
        answers = [node.client.locks.OpenSession(request, timeout=5) for node in self.region.nodes]
        self.assertEqual(len({(a.session_id, a.secret) for a in answers}), 1)
        request.ttl_ms = 11000
        self.assert_refused(lambda: self.locks.OpenSession(request, timeout=5),
                            grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_REUSED")

    def test_fields_are_checked(self):
        session = self.open("fields")
        part = session.part()
        for request, field in ((pb.AcquireRequest(name="f", owner="o", session=part), "owner"),
                               (pb.AcquireRequest(name="f", ttl_ms=1, session=part), "ttl_ms"),
                               (pb.AcquireRequest(name="f", request_id="i", session=part),
                                "request_id"),
                               (pb.AcquireRequest(name="f", session=pb.SessionPart()),
                                "session.session_id")):
            self.assert_invalid(lambda r=request: self.locks.Acquire(r, timeout=5), field)
        for ttl_ms in (-1, 999, 86400001):
            self.assert_invalid(lambda t=ttl_ms: self.locks.OpenSession(
                pb.OpenSessionRequest(client="c", ttl_ms=t), timeout=5), "ttl_ms")
        session.close()

    def test_a_session_needs_its_secret(self):
        session = self.open("safe")
        self.assert_granted(session.acquire("safe/x"))
        wrong = {"secret": "0" * 32}
        calls = (lambda: self.locks.Acquire(session.acquiring("safe/y", **wrong), timeout=5),
                 lambda: self.locks.CloseSession(
                     pb.CloseSessionRequest(session_id=session.id, **wrong), timeout=5))
        for call in calls:
            self.assert_refused(call, grpc.StatusCode.PERMISSION_DENIED, "SESSION_DENIED")
        self.assertEqual(session.keep_alive(**wrong).result, pb.KEEP_ALIVE_RESULT_DENIED)
        self.assertEqual(self.holder("safe/x"), session.id)
        for node in self.region.nodes:
            self.assertNotIn(session.secret, node.log())
        session.close()

    # ---- ends ----

    def waiting(self, session, name):
        """A future of an Acquire that waits."""
        future = self.region.nodes[2].client.locks.Acquire.future(
            session.acquiring(name, wait_ms=-1), timeout=60)
        wait_for("a waiter", lambda: self.region.nodes[0].client.get(name).waiter_count, 10)
        return future

    def test_s12c_closing_ends_holds_and_waits(self):
        session, other = self.open("closing"), self.open("other")
        self.assert_granted(session.acquire("close/x"))
        self.assert_granted(other.acquire("close/y"))
        waits, next_one = self.waiting(session, "close/y"), self.waiting(other, "close/x")
        session.close()
        refusal = self.assert_refused(waits.result, PRECONDITION, "SESSION_ENDED")
        self.assertIn("closed", refusal.text)
        self.assertEqual(next_one.result().result, GRANTED)
        for call in (lambda: self.locks.Acquire(session.acquiring("close/z"), timeout=5),
                     lambda: self.locks.CloseSession(pb.CloseSessionRequest(
                         session_id=session.id, secret=session.secret), timeout=5)):
            self.assert_refused(call, PRECONDITION, "SESSION_ENDED")
        self.assertEqual(session.keep_alive().result, pb.KEEP_ALIVE_RESULT_ENDED)
        self.assertIsNone(self.holder("close/z"))
        other.close()

    def test_silence_ends_a_session_and_says_so(self):
        session, other = self.open("silent", 1500), self.open("patient")
        for i in range(10):
            self.assert_granted(session.acquire("silent/%d" % i))
        self.assert_granted(other.acquire("loud/x"))
        waits, next_one = self.waiting(session, "loud/x"), self.waiting(other, "silent/0")
        refusal = self.assert_refused(waits.result, PRECONDITION, "SESSION_ENDED")
        self.assertIn("ran out", refusal.text)
        self.assertEqual(next_one.result().result, GRANTED)
        self.assertGreater(time.monotonic() - session.begun, 1.5)
        self.assertEqual({self.holder("silent/%d" % i) for i in range(1, 10)}, {None})
        self.assertEqual(session.keep_alive().result, pb.KEEP_ALIVE_RESULT_ENDED)
        other.close()

    # ---- numbers ----

    def test_s12b_a_delayed_copy_of_a_numbered_request(self):
        session = self.open("numbers")
        copy = session.acquiring("copy/x")
        first = self.locks.Acquire(copy, timeout=5)
        self.assert_granted(first)
        again = self.region.nodes[1].client.locks.Acquire(copy, timeout=5)
        self.assertEqual((again.result, again.token, again.hold_id),
                         (GRANTED, first.token, first.hold_id))
        session.release("copy/x", first.hold_id)
        late = self.region.nodes[2].client.locks.Acquire(copy, timeout=5)
        self.assertEqual(late.result, ENDED)
        self.assert_granted(session.acquire("copy/y"))  # is done with the numbers before
        session.keep_alive()
        for node in self.region.nodes:
            refusal = refusal_of(lambda n=node: n.client.locks.Acquire(copy, timeout=5))
            self.assertEqual((refusal.code, refusal.reason), (PRECONDITION, "REQUEST_TOO_OLD"))
        self.assertIsNone(self.holder("copy/x"))
        session.close()

    def test_s12b_a_full_window(self):
        session = self.open("window")
        for i in range(1, 17):
            answer = self.locks.Acquire(session.acquiring("window/%d" % i, done_below=1), timeout=5)
            self.assert_granted(answer)
        call = session.acquiring("window/17", done_below=1)
        self.assert_refused(lambda: self.locks.Acquire(call, timeout=5),
                            grpc.StatusCode.RESOURCE_EXHAUSTED, "WINDOW_FULL")
        call.session.done_below = 10
        self.assert_granted(self.locks.Acquire(call, timeout=5))
        self.assertEqual(self.info(session).hold_count, 17)
        session.close()

    def test_s12c_a_broken_attempt_is_listed_and_released(self):
        """The answer to an Acquire is lost, its client gives it up and keeps the session."""
        session = self.open("broken")
        kept = self.assert_granted(session.acquire("broken/wanted"))
        self.locks.Acquire(session.acquiring("broken/orphan"), timeout=5)  # nobody hears of it
        answer = session.keep_alive()
        known = {kept.hold_id}
        orphans = [hold for hold in answer.holds if hold.hold_id not in known]
        self.assertEqual([(hold.name, hold.request_number) for hold in orphans],
                         [("broken/orphan", 2)])
        session.release(orphans[0].name, orphans[0].hold_id)
        self.assertIsNone(self.holder("broken/orphan"))
        after = session.keep_alive(known_holds_version=answer.holds_version)
        self.assertEqual([hold.name for hold in after.holds], ["broken/wanted"])
        same = session.keep_alive(known_holds_version=after.holds_version)
        self.assertEqual((len(same.holds), same.hold_count), (0, 1))
        session.close()

    def test_another_owner_finds_it_held(self):
        session = self.open("owner")
        self.assert_granted(session.acquire("owner/x"))
        answer = self.region.nodes[1].client.acquire("owner/x", "plain")
        self.assertEqual(answer.result, HELD)
        self.assertEqual(answer.holders[0].client, "owner")
        session.close()

    # ---- streams ----

    def test_a_stream_keeps_many_sessions(self):
        sessions = [self.open("stream-%d" % i, 60000) for i in range(20)]
        for node in self.region.nodes:
            requests = [session.keeping() for session in sessions] * 40  # more than are let in at once
            answers = list(node.client.locks.KeepAliveStream(iter(requests), timeout=60))
            self.assertEqual(len(answers), len(requests))
            self.assertEqual({answer.result for answer in answers}, {pb.KEEP_ALIVE_RESULT_ALIVE})
            self.assertEqual({answer.session_id for answer in answers},
                             {session.id for session in sessions})
        stream = self.locks.KeepAliveStream(iter([pb.KeepAliveRequest(session_id="x")]), timeout=5)
        self.assert_invalid(lambda: list(stream), "session_id")
        for session in sessions:
            session.close()

    # ---- the long one ----

    def lose_leader(self):
        leader = self.region.leader()
        leader.kill()
        time.sleep(0.5)
        leader.start()
        self.region.wait_serving(30)

    def lose_frontend(self, turn):
        if turn >= len(self.region.nodes):
            time.sleep(3)  # whoever fails five times a minute is put out of service
        node = self.region.nodes[turn % len(self.region.nodes)]
        old = node.wait_actors()["frontend"]
        node.kill_actor("frontend")
        wait_for("a new frontend of %s" % node.name,
                 lambda: node.actor_pids().get("frontend") not in (None, old), 15)
        self.region.wait_serving(30)

    def outlive(self, lose):
        session = self.open("long", 5000).keep()
        tokens = {}
        for i in range(LOCKS):
            name = "long/%03d" % i
            tokens[name] = self.assert_granted(session.acquire(name)).token
        for turn in range(KILLS):
            seen = session.keep_alives
            lose(turn)
            wait_for("a keep-alive", lambda: session.lost or session.keep_alives > seen + 1, 10)
            self.assertIsNone(session.lost)
            held = {hold.name: hold.token for hold in self.info(session).holds}
            self.assertEqual(held, tokens)
        print("%d kills, %d keep-alives, at least %.1f s of %.0f s were left"
              % (KILLS, session.keep_alives, session.narrowest, session.ttl_ms / 1000))
        self.assertEqual(session.keep_alive().hold_count, LOCKS)
        session.close()
        self.assertEqual(list(self.region.nodes[0].client.list("long/").locks), [])

    def test_100_locks_outlive_leaders(self):
        self.outlive(lambda turn: self.lose_leader())

    @needs_processes
    def test_100_locks_outlive_frontends(self):
        self.outlive(self.lose_frontend)

    def test_a_wait_in_a_session_outlives_its_leader(self):
        session, other = self.open("waits", 20000).keep(), self.open("has", 20000).keep()
        hold = self.assert_granted(other.acquire("wait/x"))
        answers = []
        request = session.acquiring("wait/x", wait_ms=60000)
        thread = threading.Thread(target=lambda: answers.append(
            session.repeat("Acquire", request, timeout=60, seconds=60)))
        thread.start()
        wait_for("a waiter", lambda: self.region.nodes[0].client.get("wait/x").waiter_count, 10)
        self.lose_leader()
        self.assertEqual(answers, [])
        other.release("wait/x", hold.hold_id)
        thread.join(30)
        self.assertEqual([answer.result for answer in answers], [GRANTED])
        self.assertGreater(answers[0].token, hold.token)
        session.close()
        other.close()


if __name__ == "__main__":
    main()
