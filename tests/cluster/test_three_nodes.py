"""Three nodes: clients of different nodes, loss of nodes, strangers, other regions."""

import json
import os
import shutil
import threading
import time

import grpc

import stubs
from calls import (CANCELLED, ENDED, FOLLOWER, GRANTED, SHARED, Refusal, channel, refusal_of,
                   request, wait_for_answer, wait_for_refusal)
from cluster_case import ClusterCase, main
from region import Region, wait_for

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Three(ClusterCase):
    N_NODES = 3

    def setUp(self):
        for node in self.region.nodes:
            if not node.runs():
                node.start()
        self.region.wait_serving()
        self.leader = self.region.leader()
        self.one, self.two = [node for node in self.region.nodes if node is not self.leader]


class Clients(Three):
    """A plain client in front of any node."""

    def test_all_nodes_agree(self):
        states = [node.status() for node in self.region.nodes]
        self.assertEqual(len({state.header.cluster_id for state in states}), 1)
        self.assertEqual({state.leader for state in states}, {self.leader.name})
        for state in states:
            self.assertEqual([m.name for m in state.members], ["n1", "n2", "n3"])
            self.assertEqual(len({m.server_id for m in state.members}), 3)
            self.assertEqual([m.leader for m in state.members].count(True), 1)
        self.region.wait_equal_hashes()

    def test_s13_acquire_on_a_follower(self):
        answer = self.assert_granted(self.one.client.acquire("follower", "a"))
        self.assertEqual(answer.header.node, self.leader.name, "the leader has decided")
        self.assertEqual(self.two.client.get("follower").holders[0].token, answer.token)
        renewed = self.two.client.renew("follower", "a", answer.hold_id)
        self.assertEqual(renewed.token, answer.token)
        self.two.client.release("follower", "a", answer.hold_id)
        self.assertEqual(len(self.one.client.get("follower").holders), 0)

    def test_s13_a_grant_that_found_nobody_at_the_edge(self):
        """This test is the edge: it gets a grant for a client that has gone, and says so."""
        cluster = self.leader.status().header.cluster_id
        sender = {"cluster_id": cluster, "from": self.one.name, "forward_id": 4711}
        wanted = stubs.peer_pb2.ForwardRequest(**sender)
        wanted.call.acquire.CopyFrom(request("edge", "gone", request_id="r", ttl_ms=60000))
        with channel(self.leader.address) as edge:
            service = stubs.peer_grpc.RaftServiceStub(edge)
            answer = service.Forward(wanted, timeout=5).answer
            self.assertEqual(answer.acquire.result, GRANTED, answer)
            self.assertEqual(len(self.two.client.get("edge").holders), 1)
            service.Undelivered(stubs.peer_pb2.UndeliveredRequest(**sender), timeout=5)
        next_one = self.assert_granted(self.two.client.acquire("edge", "next", wait_ms=5000))
        self.assertGreater(next_one.token, answer.acquire.token)

    def test_waiting_behind_a_client_of_another_node(self):
        first = self.assert_granted(self.one.client.acquire("queue", "a"))
        second = self.two.client.acquire_later("queue", "b", wait_ms=-1)
        wait_for("b waits", lambda: self.leader.client.get("queue").waiter_count == 1)
        third = self.leader.client.acquire_later("queue", "c", wait_ms=20000)
        wait_for("c waits", lambda: self.one.client.get("queue").waiter_count == 2)
        info = self.two.client.get("queue")
        self.assertEqual([waiter.owner for waiter in info.waiters], ["b", "c"])
        self.assertFalse(second.done())
        self.two.client.release("queue", "a", first.hold_id)
        got = self.assert_granted(second.result())
        self.assertGreater(got.token, first.token)
        self.assertFalse(third.done())
        self.one.client.release("queue", "b", got.hold_id)
        last = self.assert_granted(third.result())
        self.assertGreater(last.token, got.token)

    def test_losing_a_lock_by_expiry(self):
        first = self.assert_granted(self.one.client.acquire("expiry", "a", ttl_ms=1000))
        next_one = self.assert_granted(self.two.client.acquire("expiry", "b", wait_ms=15000))
        self.assertGreater(next_one.token, first.token)
        refusal = refusal_of(lambda: self.one.client.renew("expiry", "a", first.hold_id))
        self.assertEqual((refusal.code, refusal.reason),
                         (grpc.StatusCode.FAILED_PRECONDITION, "STALE_HOLD"))

    def test_shared_holders_on_all_nodes(self):
        answers = [self.assert_granted(node.client.acquire("shared", node.name, mode=SHARED))
                   for node in self.region.nodes]
        self.assertEqual(len({answer.token for answer in answers}), 1)
        writer = self.one.client.acquire_later("shared", "w", wait_ms=-1)
        wait_for("the writer waits", lambda: self.two.client.get("shared").waiter_count == 1)
        for node, answer in zip(self.region.nodes, answers):
            self.assertFalse(writer.done())
            self.two.client.release("shared", node.name, answer.hold_id)
        self.assertGreater(self.assert_granted(writer.result()).token, answers[0].token)

    def test_s6_repeats_through_other_nodes(self):
        first = self.assert_granted(self.one.client.acquire("repeat", "a", request_id="r"))
        for node in self.region.nodes:
            again = self.assert_granted(node.client.acquire("repeat", "a", request_id="r"))
            self.assertEqual(again.token, first.token)
        self.two.client.release("repeat", "a", again.hold_id)
        for node in self.region.nodes:
            self.assertEqual(node.client.acquire("repeat", "a", request_id="r").result, ENDED)

    def test_s10_a_repeat_through_another_node_joins_the_wait(self):
        held = self.assert_granted(self.leader.client.acquire("joined", "a"))
        tries = [node.client.acquire_later("joined", "b", request_id="r", wait_ms=-1)
                 for node in self.region.nodes]
        wait_for("b waits", lambda: self.one.client.get("joined").waiter_count == 1)
        time.sleep(0.3)
        tries[0].cancel()
        time.sleep(0.3)
        self.assertEqual(self.one.client.get("joined").waiter_count, 1, "others still listen")
        self.leader.client.release("joined", "a", held.hold_id)
        answers = [one.result() for one in tries[1:]]
        self.assertEqual({answer.result for answer in answers}, {GRANTED})
        self.assertEqual(len({answer.token for answer in answers}), 1)

    def test_cancel_through_another_node(self):
        self.assert_granted(self.one.client.acquire("cancel", "a"))
        waiting = self.one.client.acquire_later("cancel", "b", request_id="w", wait_ms=-1)
        wait_for("b waits", lambda: self.two.client.get("cancel").waiter_count == 1)
        self.two.client.cancel("b", "w")
        self.assertEqual(waiting.result(timeout=10).result, CANCELLED)

    def test_list_through_every_node(self):
        for number in range(7):
            self.assert_granted(self.one.client.acquire("list/%d" % number, "a"))
        for node in self.region.nodes:
            names, token = [], ""
            while True:
                page = node.client.list("list/", page_size=3, page_token=token)
                names += [lock.name for lock in page.locks]
                token = page.next_page_token
                if not token:
                    break
            self.assertEqual(names, ["list/%d" % number for number in range(7)])

    def test_lockctl_sees_three_nodes(self):
        done = self.region.lockctl("status", "-o", "json", endpoints=self.one.address)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(row["header"]["node"] for row in json.loads(done.stdout)),
                         ["n1", "n2", "n3"])


class Faults(Three):
    """Nodes die, stop, stall; strangers knock."""

    def test_no_quorum_is_said_in_time(self):
        held = self.assert_granted(self.one.client.acquire("quorum", "a", ttl_ms=120000))
        self.two.kill()
        self.leader.kill()
        # A call passed on to a leader in the moment of its death may have been applied, and says
        # so. Once the node knows that nobody leads, nothing can have been.
        wait_for("nothing is known of the leader",
                 lambda: self.one.json("/actuator/health/raft")[1]["status"] == "UNKNOWN", 15)
        for deadline in (1, 3):
            for call in (lambda t: self.one.client.acquire("quorum/2", "a", timeout=t),
                         lambda t: self.one.client.get("quorum", timeout=t),
                         lambda t: self.one.client.renew("quorum", "a", held.hold_id, timeout=t)):
                for _ in range(3):  # an attempt that is under way at the very end leaves it open
                    begin = time.monotonic()
                    refusal = refusal_of(lambda: call(deadline))
                    spent = time.monotonic() - begin
                    if refusal.reason != "OUTCOME_UNKNOWN":
                        break
                self.assertEqual(refusal.code, UNAVAILABLE,
                                 "after %.3f of %d s: %s" % (spent, deadline, refusal))
                self.assertEqual(refusal.reason, "NO_LEADER", refusal)
                self.assertIsNotNone(refusal.retry_after)
        self.assertEqual(self.one.http("/actuator/health/liveness")[0], 200)
        status, page = self.one.json("/actuator/health")
        self.assertNotEqual(page["status"], "DOWN")
        self.assertEqual(self.region.lockctl("health", "--timeout", "2s",
                                             endpoints=self.one.address).returncode, 3)
        self.assertEqual(self.one.status().leader, "")
        pids = self.one.actor_pids()
        self.two.start()
        self.region.wait_serving(nodes=[self.one, self.two])
        self.assertEqual(self.one.actor_pids(), pids)
        info = self.two.client.get("quorum")
        self.assertEqual([(h.owner, h.token) for h in info.holders], [("a", held.token)])

    def test_sigterm_of_the_leader_hands_over(self):
        gaps = Gaps(self.one.client)
        time.sleep(1)
        begin = time.monotonic()
        self.assertEqual(self.leader.stop(), 0)
        stopped = time.monotonic() - begin
        new = self.region.leader(among=[self.one, self.two])
        time.sleep(0.5)
        print("leader stopped in %.2f s, longest pause of a client %.2f s"
              % (stopped, gaps.stop()))
        self.assertIn(new, (self.one, self.two))
        self.assertLess(gaps.longest, 5)

    def test_kill_9_of_the_leader(self):
        held = self.assert_granted(self.one.client.acquire("killed", "a", ttl_ms=60000))
        waiting = self.two.client.acquire_later("killed", "b", request_id="w", wait_ms=-1)
        wait_for("b waits", lambda: self.one.client.get("killed").waiter_count == 1)
        gaps = Gaps(self.one.client)
        time.sleep(0.5)
        self.leader.kill()
        new = self.region.leader(among=[self.one, self.two])
        self.assertGreater(new.status().header.term, 0)
        info = wait_for_answer(lambda: self.one.client.get("killed", timeout=2))
        self.assertEqual([(h.owner, h.token) for h in info.holders], [("a", held.token)])
        wait_for_answer(lambda: self.one.client.release("killed", "a", held.hold_id, timeout=2,
                                                        request_id="rel"))
        # S13: the edge has passed the wait on to the new leader, the client has noticed nothing.
        got = self.assert_granted(waiting.result())
        self.assertGreater(got.token, held.token)
        print("longest pause of a client %.2f s" % gaps.stop())
        self.leader.start()
        self.region.wait_serving()
        self.region.wait_equal_hashes()

    def test_s8_a_paused_leader_comes_back_as_follower(self):
        held = self.assert_granted(self.leader.client.acquire("paused", "a", ttl_ms=1500))
        before = self.leader.status().header.term
        self.leader.pause()
        try:
            new = self.region.leader(among=[self.one, self.two])
            self.assertGreater(new.status().header.term, before)
            other = wait_for_answer(lambda: self.one.client.acquire(
                "paused", "b", request_id="paused", wait_ms=8000, timeout=10))
            self.assert_granted(other)
            self.assertGreater(other.token, held.token)
        finally:
            self.leader.resume()
        refusal = wait_for_refusal(lambda: self.leader.client.renew("paused", "a", held.hold_id,
                                                                    timeout=3))
        self.assertEqual(refusal.reason, "STALE_HOLD", refusal)
        wait_for("the old leader follows", lambda: (self.leader.status() or
                                                    stubs.admin_pb2.GetStatusResponse()).role
                 == FOLLOWER)
        self.assertEqual([h.owner for h in self.leader.client.get("paused").holders], ["b"])
        self.region.wait_equal_hashes()

    def test_a_follower_catches_up(self):
        self.one.kill()
        for number in range(200):
            self.two.client.acquire("behind/%d" % number, "a", ttl_ms=60000)
        self.one.start()
        self.region.wait_serving()
        self.region.wait_equal_hashes()
        self.assertEqual(len(self.one.client.list("behind/", page_size=1000).locks), 200)

    def assert_nobody_serves(self, node):
        """On a busy machine the call may end while its last attempt is under way: that is unknown."""
        refusal = refusal_of(lambda: node.client.acquire("disk", "b", timeout=2))
        self.assertIn(refusal.code, (UNAVAILABLE, grpc.StatusCode.ABORTED), refusal)

    def test_s18_a_node_that_lost_its_disk_forms_no_region(self):
        held = self.assert_granted(self.one.client.acquire("disk", "a", ttl_ms=120000))
        for node in self.region.nodes:
            node.kill()
        saved = {}
        for node in (self.one, self.two):
            saved[node] = node.data_dir + ".saved"
            shutil.copytree(node.data_dir, saved[node])
            shutil.rmtree(node.data_dir)
            os.makedirs(node.data_dir)
            node.start()
        try:
            time.sleep(3)
            for node in (self.one, self.two):
                self.assert_nobody_serves(node)
            self.leader.start()
            time.sleep(2)
            self.assert_nobody_serves(self.one)
        finally:
            for node in (self.one, self.two):
                node.kill()
                shutil.rmtree(node.data_dir)
                shutil.copytree(saved[node], node.data_dir)
                shutil.rmtree(saved[node])
                node.start()
        self.region.wait_serving()
        self.assertEqual([(h.owner, h.token) for h in self.one.client.get("disk").holders],
                         [("a", held.token)])

    # ---- strangers ----

    def hello(self, **changes):
        cluster = self.leader.status().header.cluster_id
        fields = dict(version=1, region="test", to=self.leader.name, cluster_id=cluster,
                      server_id=1)
        fields["from"] = self.one.name
        fields.update(changes)
        return stubs.peer_pb2.LinkRequest(hello=stubs.peer_pb2.LinkHello(**fields))

    def link(self, *requests):
        with channel(self.leader.address) as stranger:
            service = stubs.peer_grpc.RaftServiceStub(stranger)
            return list(service.Link(iter(requests), timeout=5))

    def test_strangers_on_the_raft_service(self):
        term = self.leader.status().header.term
        pids = self.leader.actor_pids()
        frame = stubs.peer_pb2.LinkRequest(frame=b"\x08\x01\x12\x04abcd")
        refused = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION,
                   grpc.StatusCode.INVALID_ARGUMENT)
        wrong = {
            "unknown sender": self.hello(**{"from": "stranger"}),
            "another cluster": self.hello(cluster_id="f" * 32),
            "another region": self.hello(region="elsewhere"),
            "meant for another node": self.hello(to=self.two.name),
            "unknown version": self.hello(version=99),
            "no hello": frame,
        }
        for words, first in wrong.items():
            with self.subTest(words):
                refusal = refusal_of(lambda: self.link(first, frame))
                self.assertIn(refusal.code, refused, refusal)
                self.assertTrue(refusal.reason, refusal)
        self.assertEqual(self.leader.status().header.term, term)
        self.assertEqual(self.leader.actor_pids(), pids)
        self.assertEqual(self.region.leader(), self.leader)
        for reason in ("unknown_peer", "wrong_cluster", "wrong_region"):
            wait_for("%s is counted" % reason, lambda: self.leader.metric(
                "lockmgr_peer_links_refused_total", reason=reason), 10)

    def test_damaged_frames_under_a_known_name(self):
        pids = self.leader.actor_pids()
        frames = [stubs.peer_pb2.LinkRequest(frame=bytes((n,)) * n) for n in range(1, 60)]
        frames.append(stubs.peer_pb2.LinkRequest(frame=b"\xff" * 3000000))
        server_id = next(int(m.server_id, 16) for m in self.leader.status().members
                         if m.name == self.one.name)
        for batch in (frames[:30], frames[30:]):
            try:
                self.link(self.hello(server_id=server_id), *batch)
            except grpc.RpcError as error:
                print("damaged frames: %s" % Refusal(error))
        self.region.wait_serving()
        self.assertEqual(self.leader.actor_pids(), pids)
        self.region.wait_equal_hashes()
        wait_for("they are counted", lambda: self.leader.metric(
            "lockmgr_raft_frames_refused_total"), 10)

    def test_calls_passed_on_by_strangers(self):
        forward = stubs.peer_pb2.ForwardRequest
        with channel(self.leader.address) as stranger:
            service = stubs.peer_grpc.RaftServiceStub(stranger)
            cluster = self.leader.status().header.cluster_id
            for fields in ({"cluster_id": cluster, "from": "stranger"},
                           {"cluster_id": "e" * 32, "from": self.one.name}):
                wanted = forward(**fields)
                wanted.call.acquire.name, wanted.call.acquire.owner = "stolen", "x"
                refusal = refusal_of(lambda: service.Forward(wanted, timeout=5))
                self.assertIn(refusal.reason, ("UNKNOWN_PEER", "WRONG_CLUSTER"), refusal)
                report = stubs.peer_pb2.UndeliveredRequest(forward_id=1, **fields)
                refusal = refusal_of(lambda: service.Undelivered(report, timeout=5))
                self.assertIn(refusal.reason, ("UNKNOWN_PEER", "WRONG_CLUSTER"), refusal)
        self.assertEqual(len(self.leader.client.get("stolen").holders), 0)
        for reason in ("unknown_peer", "wrong_cluster"):
            wait_for("%s is counted" % reason, lambda: self.leader.metric(
                "lockmgr_frontend_forwards_refused_%s_total" % reason), 10)


class Regions(ClusterCase):
    """Two regions of one node each that know each other, and a third that is not there."""

    def setUp(self):
        self.east = Region(1, region_id="east", start=False)
        self.west = Region(1, region_id="west", start=False)
        nowhere = self.east.ports.take()
        for mine, other in ((self.east, self.west), (self.west, self.east)):
            mine.settings = {"region": {"peers": [
                {"region_id": other.region_id, "host": "127.0.0.1",
                 "port": other.node(1).region_port},
                {"region_id": "nowhere", "host": "127.0.0.1", "port": nowhere}]}}
            mine.start()
        for region in (self.east, self.west):
            region.wait_serving()

    def tearDown(self):
        self.east.close()
        self.west.close()

    def run(self, result=None):
        before = self._bad(result)
        super().run(result)
        if self._bad(result) != before:
            for region in (self.east, self.west):
                region.print_logs()

    def components(self, region):
        status, page = region.node(1).json("/actuator/health")
        self.assertEqual((status, page["status"]), (200, "UP"), page)
        return {name: one["status"]
                for name, one in page["components"]["region"].get("components", {}).items()}

    def test_regions_say_hello(self):
        for mine, other in ((self.east, "west"), (self.west, "east")):
            wait_for("%s reaches %s" % (mine.region_id, other),
                     lambda: self.components(mine) == {other: "UP", "nowhere": "UNKNOWN"}, 15)

        def rows_of_east():
            done = self.east.lockctl("regions", "-o", "json")
            self.assertEqual(done.returncode, 0, done.stderr)
            return {row["region"]: row for row in json.loads(done.stdout)}
        # A hello that also had to make the connection has no round trip; the next one has.
        wait_for("a hello is timed", lambda: int(rows_of_east()["west"]["roundTripUs"]) > 0, 15)
        rows = rows_of_east()
        self.assertTrue(rows["west"]["reachable"])
        self.assertEqual(rows["west"]["clusterId"],
                         self.west.node(1).status().header.cluster_id)
        self.assertFalse(rows["nowhere"]["reachable"])
        self.assertEqual(self.east.node(1).json("/actuator/health/region/west"),
                         (200, {"status": "UP"}))
        self.assertEqual(self.east.node(1).http("/actuator/health/region/mars")[0], 404)
        self.west.kill_node(1)
        wait_for("west is missed", lambda: self.components(self.east)["west"] == "UNKNOWN", 15)
        self.assertEqual(self.east.node(1).http("/actuator/health/readiness")[0], 200)
        self.west.start()
        wait_for("west is back", lambda: self.components(self.east)["west"] == "UP", 30)

    def test_strangers_on_the_region_port(self):
        node = self.east.node(1)
        with channel("127.0.0.1:%d" % node.region_port) as other:
            service = stubs.region_grpc.RegionServiceStub(other)

            def hello(region, cluster="c" * 32):
                return service.Hello(stubs.region_pb2.HelloRequest(
                    **{"from": stubs.region_pb2.RegionIdentity(
                        region=region, cluster_id=cluster, version="1", protocol=1,
                        node="n1")}), timeout=5)
            refusal = refusal_of(lambda: hello("mars"))
            self.assertEqual(refusal.reason, "UNKNOWN_PEER", refusal)
            wait_for("west has said who it is",
                     lambda: self.components(self.east).get("west") == "UP", 15)
            refusal = refusal_of(lambda: hello("west"))
            self.assertEqual(refusal.reason, "WRONG_CLUSTER", refusal)
            answer = wait_for_answer(lambda: hello(
                "west", self.west.node(1).status().header.cluster_id))
            self.assertEqual(getattr(answer, "from").region, "east")
            call = other.unary_unary("/lockmgr.v1.LockService/Get")
            refusal = refusal_of(lambda: call(b"\x0a\x01x", timeout=5))
            self.assertEqual(refusal.code, grpc.StatusCode.UNIMPLEMENTED,
                             "the region port offers nothing else")
        with channel(node.address) as client:
            call = client.unary_unary("/lockmgr.region.v1.RegionService/Hello")
            self.assertEqual(refusal_of(lambda: call(b"", timeout=5)).code,
                             grpc.StatusCode.UNIMPLEMENTED)


class Gaps:
    """Takes and gives back a lock again and again; notes the longest time without success."""

    def __init__(self, client):
        self.client, self.longest, self._running = client, 0.0, True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        last, number = time.monotonic(), 0
        while self._running:
            number += 1
            try:
                held = self.client.acquire("gaps/%d" % number, "gaps", timeout=2, ttl_ms=1000)
                self.client.release("gaps/%d" % number, "gaps", held.hold_id, timeout=2)
            except grpc.RpcError:
                time.sleep(0.01)
                continue
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
        self.longest = max(self.longest, time.monotonic() - last)

    def stop(self):
        self._running = False
        self._thread.join()
        return self.longest


if __name__ == "__main__":
    main()
