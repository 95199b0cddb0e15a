"""One node: what clients and operators see of it, and what it survives."""

import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import time

import grpc

import stubs
from calls import (CANCELLED, ENDED, GRANTED, HELD, SHARED, TIMED_OUT, Refusal, refusal_of,
                   request, wait_for_answer)
from cluster_case import ClusterCase, main, needs_processes
from region import ACTORS, BIN, Region, clean_environment, wait_for, write_config

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def field(number, value):
    """One field of a protobuf message: text as bytes, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


class Serving(ClusterCase):
    """What a running node answers."""

    N_NODES = 1

    def setUp(self):
        self.node = self.region.node(1)
        self.client = self.node.client

    def raw(self, method, body):
        call = self.client.channel.unary_unary("/lockmgr.v1.LockService/" + method)
        return lambda: call(body, timeout=5)

    def test_life_of_a_lock(self):
        first = self.assert_granted(self.client.acquire("life", "a", ttl_ms=5000))
        self.assertEqual(first.ttl_ms, 5000)
        self.assertEqual(first.header.node, "n1")
        self.assertEqual(first.header.region, "test")
        self.assertEqual(len(first.header.cluster_id), 32)
        self.assertTrue(first.request_id)
        held = self.client.acquire("life", "b")
        self.assertEqual(held.result, HELD)
        self.assertEqual([holder.owner for holder in held.holders], ["a"])
        renewed = self.client.renew("life", "a", first.hold_id, ttl_ms=20000)
        self.assertEqual(renewed.token, first.token)
        self.assertEqual(renewed.ttl_ms, 20000)
        self.assertGreater(renewed.lease_remaining_ms, 15000)
        info = self.client.get("life")
        self.assertEqual([(h.owner, h.token) for h in info.holders], [("a", first.token)])
        self.assertEqual(self.client.release("life", "a", first.hold_id).token, first.token)
        second = self.assert_granted(self.client.acquire("life", "b"))
        self.assertGreater(second.token, first.token)
        self.client.release("life", "b", second.hold_id)
        self.assertEqual(len(self.client.get("life").holders), 0)

    def test_s6_ttl_is_clamped_and_told(self):
        for wanted, applied in ((0, 30000), (1, 1000), (1 << 40, 300000), (2500, 2500)):
            answer = self.assert_granted(self.client.acquire("ttl/%d" % wanted, "a",
                                                             ttl_ms=wanted))
            self.assertEqual(answer.ttl_ms, applied)
        status = self.client.status()
        self.assertEqual((status.ttl_min_ms, status.ttl_default_ms, status.ttl_max_ms),
                         (1000, 30000, 300000))

    def test_s7_a_lease_ends_late_never_early(self):
        begin = time.monotonic()
        first = self.assert_granted(self.client.acquire("expiry", "a", ttl_ms=1000))
        second = self.assert_granted(self.client.acquire("expiry", "b", wait_ms=10000))
        waited = time.monotonic() - begin
        self.assertGreater(second.token, first.token)
        self.assertGreaterEqual(waited, 0.99)
        self.assertLess(waited, 9)
        self.assert_refused(lambda: self.client.renew("expiry", "a", first.hold_id), PRECONDITION,
                            "STALE_HOLD")

    def test_s3_shared_holders_have_one_token(self):
        one = self.assert_granted(self.client.acquire("shared", "a", mode=SHARED))
        two = self.assert_granted(self.client.acquire("shared", "b", mode=SHARED))
        self.assertEqual(one.token, two.token)
        writer = self.client.acquire_later("shared", "w", wait_ms=-1)
        wait_for("the writer waits", lambda: self.client.get("shared").waiter_count == 1)
        late = self.client.acquire("shared", "c", mode=SHARED)
        self.assertEqual(late.result, HELD, "a reader must not overtake a waiting writer")
        self.client.release("shared", "a", one.hold_id)
        self.client.release("shared", "b", two.hold_id)
        self.assertGreater(self.assert_granted(writer.result()).token, one.token)

    def test_s6_a_repeat_gets_the_one_true_answer(self):
        first = self.assert_granted(self.client.acquire("repeat", "a", request_id="r1"))
        again = self.assert_granted(self.client.acquire("repeat", "a", request_id="r1"))
        self.assertEqual(again.token, first.token)
        self.client.release("repeat", "a", again.hold_id, request_id="r2")
        released = self.client.release("repeat", "a", again.hold_id, request_id="r2")
        self.assertEqual(released.token, first.token)
        ended = self.client.acquire("repeat", "a", request_id="r1")
        self.assertEqual(ended.result, ENDED)
        self.assertEqual(ended.end_cause, stubs.lock_pb2.END_CAUSE_RELEASED)

    def test_s12_one_id_names_one_request(self):
        self.assert_granted(self.client.acquire("reused/1", "a", request_id="x"))
        self.assert_refused(lambda: self.client.acquire("reused/2", "a", request_id="x"), INVALID,
                            "REQUEST_REUSED")
        self.assert_granted(self.client.acquire("reused/2", "b", request_id="x"))

    def test_s10d_cancel(self):
        holder = self.assert_granted(self.client.acquire("cancel", "a", request_id="held"))
        waiting = self.client.acquire_later("cancel", "b", request_id="waits", wait_ms=-1)
        wait_for("b waits", lambda: self.client.get("cancel").waiter_count == 1)
        results = stubs.lock_pb2.CancelResult
        self.assertEqual(self.client.cancel("b", "waits").result,
                         results.Value("CANCEL_RESULT_CANCELLED"))
        self.assertEqual(waiting.result(timeout=5).result, CANCELLED)
        self.assertEqual(self.client.get("cancel").waiter_count, 0)
        granted = self.client.cancel("a", "held")
        self.assertEqual(granted.result, results.Value("CANCEL_RESULT_GRANTED"))
        self.assertEqual(granted.token, holder.token)
        self.client.cancel("c", "early")
        self.assertEqual(self.client.acquire("cancel/free", "c", request_id="early").result,
                         CANCELLED)
        self.client.release("cancel", "a", granted.hold_id)
        self.assertEqual(self.client.cancel("a", "held").result,
                         results.Value("CANCEL_RESULT_CANCELLED"), "its end has retired it")
        over = self.assert_granted(self.client.acquire("cancel", "d", request_id="over"))
        self.client.release("cancel", "d", over.hold_id)
        self.assertEqual(self.client.cancel("d", "over").result,
                         results.Value("CANCEL_RESULT_ENDED"))

    def test_waiting_ends_in_time(self):
        self.assert_granted(self.client.acquire("wait", "a"))
        begin = time.monotonic()
        answer = self.client.acquire("wait", "b", wait_ms=600)
        self.assertEqual(answer.result, TIMED_OUT)
        self.assertGreaterEqual(time.monotonic() - begin, 0.59)
        self.assertEqual(self.client.get("wait").waiter_count, 0)

    def test_s10_a_waiter_that_goes_away_leaves_the_queue(self):
        held = self.assert_granted(self.client.acquire("gone", "a"))
        waiting = self.client.acquire_later("gone", "b", wait_ms=-1)
        wait_for("b waits", lambda: self.client.get("gone").waiter_count == 1)
        waiting.cancel()
        wait_for("b has left", lambda: self.client.get("gone").waiter_count == 0)
        self.client.release("gone", "a", held.hold_id)
        self.assertEqual(len(self.client.get("gone").holders), 0)

    def test_list_goes_page_by_page_in_order_of_names(self):
        names = ["list/%02d" % number for number in range(25)]
        for name in random.Random(7).sample(names, len(names)):
            self.assert_granted(self.client.acquire(name, "a"))
        found, token, pages = [], "", 0
        while True:
            page = self.client.list("list/", page_size=10, page_token=token)
            found += [lock.name for lock in page.locks]
            token, pages = page.next_page_token, pages + 1
            if not token:
                break
        self.assertEqual(found, names)
        self.assertEqual(pages, 3)

    def test_s2_stale_and_foreign_holds(self):
        held = self.assert_granted(self.client.acquire("stale", "a"))
        for call in (lambda: self.client.release("stale", "b", held.hold_id),
                     lambda: self.client.renew("stale", "b", held.hold_id),
                     lambda: self.client.release("stale/other", "a", held.hold_id)):
            self.assert_refused(call, PRECONDITION, "STALE_HOLD")
        again = self.assert_granted(self.client.acquire("stale", "a"))
        self.assertEqual(again.token, held.token)
        self.assertNotEqual(again.hold_id, held.hold_id, "the next claim (S11b)")
        self.assert_refused(lambda: self.client.release("stale", "a", held.hold_id), PRECONDITION,
                            "STALE_HOLD")
        self.client.release("stale", "a", again.hold_id)
        for call in (lambda: self.client.release("stale", "a", again.hold_id),
                     lambda: self.client.renew("stale", "a", again.hold_id)):
            self.assert_refused(call, PRECONDITION, "STALE_HOLD")

    def test_another_mode_of_the_same_owner(self):
        self.assert_granted(self.client.acquire("mode", "a"))
        self.assert_refused(lambda: self.client.acquire("mode", "a", mode=SHARED), PRECONDITION,
                            "MODE_MISMATCH")

    def test_limits_at_the_limit(self):
        for name, owner, request_id in (("n" * 512, "o" * 256, "r" * 128), ("ä" * 256, "ö", "")):
            answer = self.assert_granted(self.client.acquire(name, owner, request_id=request_id))
            self.assertEqual(self.client.get(name).holders[0].owner, owner)
            self.client.release(name, owner, answer.hold_id)

    def test_invalid_requests_name_the_field(self):
        locks, pb = self.client.locks, stubs.lock_pb2
        hold = dict(name="x", owner="a", hold_id="h")
        table = [
            (locks.Acquire, request("", "a"), "name"),
            (locks.Acquire, request("n" * 513, "a"), "name"),
            (locks.Acquire, request("ä" * 257, "a"), "name"),
            (locks.Acquire, request("a\0b", "a"), "name"),
            (locks.Acquire, request("x", ""), "owner"),
            (locks.Acquire, request("x", "o" * 257), "owner"),
            (locks.Acquire, request("x", "a\0"), "owner"),
            (locks.Acquire, request("x", "a", request_id="r" * 129), "request_id"),
            (locks.Acquire, request("x", "a", request_id="\0"), "request_id"),
            (locks.Acquire, request("x", "a", ttl_ms=-1), "ttl_ms"),
            (locks.Acquire, request("x", "a", wait_ms=-2), "wait_ms"),
            (locks.Acquire, request("x", "a", wait_ms=86400001), "wait_ms"),
            (locks.Acquire, request("x", "a", mode=3), "mode"),
            (locks.Release, pb.ReleaseRequest(**{**hold, "name": ""}), "name"),
            (locks.Release, pb.ReleaseRequest(**{**hold, "owner": ""}), "owner"),
            (locks.Release, pb.ReleaseRequest(**{**hold, "hold_id": ""}), "hold_id"),
            (locks.Release, pb.ReleaseRequest(**hold, request_id="r" * 129), "request_id"),
            (locks.Renew, pb.RenewRequest(**{**hold, "name": ""}), "name"),
            (locks.Renew, pb.RenewRequest(**{**hold, "owner": ""}), "owner"),
            (locks.Renew, pb.RenewRequest(**{**hold, "hold_id": ""}), "hold_id"),
            (locks.Renew, pb.RenewRequest(**hold, ttl_ms=-1), "ttl_ms"),
            (locks.Cancel, pb.CancelRequest(owner="a"), "request_id"),
            (locks.Cancel, pb.CancelRequest(request_id="r"), "owner"),
            (locks.Get, pb.GetRequest(), "name"),
            (locks.Get, pb.GetRequest(name="n" * 513), "name"),
            (locks.List, pb.ListRequest(prefix="n" * 513), "prefix"),
            (locks.List, pb.ListRequest(page_size=-1), "page_size"),
            (locks.List, pb.ListRequest(page_size=1001), "page_size"),
        ]
        for method, body, name in table:
            with self.subTest(field=name, request=str(body)[:60]):
                self.assert_invalid(lambda: method(body, timeout=5), name)

    def test_bytes_that_are_no_text(self):
        for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe2\x82"):
            for number, name in ((1, "name"), (2, "owner"), (3, "request_id")):
                fields = {1: b"x", 2: b"a", number: bad}
                body = b"".join(field(key, value) for key, value in fields.items())
                with self.subTest(field=name, bytes=bad):
                    self.assert_invalid(self.raw("Acquire", body), name)

    def test_bytes_that_are_no_message(self):
        for body in (b"\xff" * 20, b"\x0a\xff\x01x", b"\x0a", b"\x0a\x05x", b"\x0c"):
            refusal = refusal_of(self.raw("Acquire", body))
            self.assertEqual((refusal.code, refusal.reason), (INVALID, "MALFORMED"), body)

    def test_a_large_request_is_refused(self):
        fits = field(1, b"large") + field(2, b"a") + field(100, b"x" * 60000)
        self.raw("Acquire", fits)()
        refusal = refusal_of(self.raw("Acquire", field(1, b"x") + field(100, b"x" * 70000)))
        self.assertEqual(refusal.code, grpc.StatusCode.RESOURCE_EXHAUSTED, refusal)

    def test_unknown_methods_are_unimplemented(self):
        for path in ("/lockmgr.v1.LockService/Steal", "/no.such.Service/Call"):
            call = self.client.channel.unary_unary(path)
            refusal = refusal_of(lambda: call(b"", timeout=5))
            self.assertEqual(refusal.code, grpc.StatusCode.UNIMPLEMENTED)

    def test_health_service(self):
        health = stubs.health_grpc.HealthStub(self.client.channel)
        ask = stubs.health_pb2.HealthCheckRequest
        serving = stubs.health_pb2.HealthCheckResponse.SERVING
        for service in ("", "lockmgr.v1.LockService"):
            wait_for("SERVING of '%s'" % service, lambda: health.Check(
                ask(service=service), timeout=5).status == serving, 10)
        refusal = refusal_of(lambda: health.Check(ask(service="no.such"), timeout=5))
        self.assertEqual(refusal.code, grpc.StatusCode.NOT_FOUND)
        stream = health.Watch(ask(service=""), timeout=5)
        self.assertEqual(next(stream).status, serving)
        stream.cancel()

    def test_status(self):
        status = self.client.status()
        self.assertEqual(status.leader, "n1")
        self.assertEqual([(m.name, m.address, m.leader) for m in status.members],
                         [("n1", self.node.address, True)])
        self.assertEqual(len(status.state_hash), 16)
        self.assertEqual(status.problem, "")
        self.assertGreater(status.applied_index, 0)
        self.assertTrue(status.version)

    def test_lockctl(self):
        ran = self.region.lockctl("run", "ctl/demo", "--", "sh", "-c", "echo $LOCK_TOKEN; exit 7")
        self.assertEqual(ran.returncode, 7, ran.stderr)
        self.assertGreater(int(ran.stdout), 0)
        taken = self.region.lockctl("acquire", "ctl/a", "--ttl", "30s", "--owner", "me", "-o",
                                    "json")
        self.assertEqual(taken.returncode, 0, taken.stderr)
        answer = json.loads(taken.stdout)
        self.assertGreater(int(answer["token"]), int(ran.stdout))
        self.assertIsInstance(answer["token"], str)
        other = self.region.lockctl("acquire", "ctl/a", "-n", "--owner", "you")
        self.assertEqual(other.returncode, 1, other.stderr)
        self.assertEqual(self.region.lockctl("run", "-n", "-E", "9", "ctl/a", "--",
                                             "true").returncode, 9)
        released = self.region.lockctl("release", "ctl/a", "--owner", "me", "--hold-id",
                                       answer["holdId"])
        self.assertEqual(released.returncode, 0, released.stderr)
        for verb in ("status", "health", "list", "regions"):
            done = self.region.lockctl(verb)
            self.assertEqual(done.returncode, 0, verb + done.stderr)

    def test_actuator(self):
        wait_for("readiness", lambda: self.node.http("/actuator/health/readiness")[0] == 200, 10)
        status, page = self.node.json("/actuator/health")
        self.assertEqual((status, page["status"]), (200, "UP"), page)
        self.assertEqual(sorted(page["components"]),
                         ["diskSpace", "livenessState", "raft", "readinessState", "region"])
        self.assertEqual(page["components"]["raft"]["status"], "UP")
        self.assertEqual(page["components"]["raft"]["details"]["role"].lower(), "leader")
        self.assertEqual(page["groups"], ["liveness", "readiness"])
        for path in ("/actuator/health/liveness", "/actuator/health/readiness",
                     "/actuator/health/raft", "/livez", "/readyz"):
            status, page = self.node.json(path)
            self.assertEqual((status, page["status"]), (200, "UP"), path)
        status, page = self.node.json("/actuator/info")
        self.assertEqual(page["build"]["name"], "lockmgr")
        self.assertEqual(page["lockmgr"]["region"], "test")
        self.assertEqual(page["lockmgr"]["nodeId"], "n1")
        self.assertEqual(page["lockmgr"]["clusterId"],
                         self.client.acquire("info", "a").header.cluster_id)
        self.assertEqual(self.node.http("/actuator/none")[0], 404)
        status, headers, _ = self.node.http("/actuator/health", method="POST")
        self.assertEqual(status, 405)
        self.assertIn("GET", headers["Allow"])

    def test_prometheus(self):
        self.client.acquire("metrics", "a")
        wait_for("each actor's report", lambda: all(
            self.node.metric("lockmgr_bus_sent_total", actor=actor) is not None
            for actor in ("raft", "lock", "gateway", "clients", "peers", "health")), 20)
        status, headers, body = self.node.http("/actuator/prometheus")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        seen = set()
        for line in body.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, seen, "a family stands in one place")
                self.assertIn(kind, ("counter", "gauge", "histogram", "summary"))
                seen.add(name)
            elif line and not line.startswith("#"):
                self.assertRegex(line, r'^[a-z_:][a-z0-9_:]*(\{[^}]*\})? [-+0-9.eENaIinf]+$')
        self.assertIn("lockmgr_build_info", seen)
        self.assertTrue([name for name in seen if name.startswith("lockmgr_raft")], seen)
        self.assertTrue([name for name in seen if name.startswith("lockmgr_lock")], seen)
        for actor in ("raft", "lock", "gateway", "clients", "peers", "health"):
            for name in ("lockmgr_bus_received_total", "lockmgr_bus_undecodable_total"):
                wait_for("%s of %s" % (name, actor),
                         lambda: self.node.metric(name, actor=actor) is not None)
        _, _, one = self.node.http("/actuator/prometheus?includedNames=lockmgr_build_info")
        self.assertEqual([line.split("{")[0] for line in one.splitlines() if line[0] != "#"],
                         ["lockmgr_build_info"])
        _, headers, body = self.node.http(
            "/actuator/prometheus", headers={"Accept": "application/openmetrics-text"})
        self.assertTrue(headers["Content-Type"].startswith("application/openmetrics-text"))
        self.assertTrue(body.endswith("# EOF\n"))


class Survival(ClusterCase):
    """What a node survives."""

    N_NODES = 1

    def setUp(self):
        self.node = self.region.node(1)
        self.client = self.node.client
        if not self.node.runs():
            self.node.start()
        self.region.wait_serving()

    def assert_still_held(self, name, owner, held):
        info = wait_for_answer(lambda: self.client.get(name, timeout=2))
        self.assertEqual([(h.owner, h.token) for h in info.holders], [(owner, held.token)])
        renewed = wait_for_answer(lambda: self.client.renew(name, owner, held.hold_id, timeout=2))
        self.assertEqual(renewed.token, held.token)

    @needs_processes
    def test_one_supervisor_and_five_actors(self):
        pids = self.node.wait_actors()
        self.assertEqual(set(pids), set(ACTORS))
        listed = subprocess.run(["ps", "-o", "comm=", "--ppid", str(self.node.process.pid)],
                                capture_output=True, text=True, check=True).stdout.split()
        self.assertEqual(len(listed), 5, listed)

    def test_a_lock_survives_kill_9_of_the_node(self):
        held = self.assert_granted(self.client.acquire("survives", "a", ttl_ms=60000))
        self.node.kill()
        self.node.start()
        self.region.wait_serving()
        self.assert_still_held("survives", "a", held)
        refused = wait_for_answer(lambda: self.client.acquire("survives", "b"))
        self.assertEqual(refused.result, HELD)
        ran = self.region.lockctl("run", "demo", "--", "true")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        next_one = wait_for_answer(lambda: self.client.acquire("survives/next", "b"))
        self.assertGreater(next_one.token, held.token)

    @needs_processes
    def test_s15_any_actor_may_be_killed(self):
        held = self.assert_granted(self.client.acquire("actors", "a", ttl_ms=120000))
        for victim in ACTORS:
            with self.subTest(actor=victim):
                before = self.node.wait_actors()
                self.node.kill_actor(victim)
                wait_for("a new %s" % victim, lambda: self.node.actor_pids().get(victim)
                         not in (None, before[victim]), 20)
                self.assert_still_held("actors", "a", held)
                answer = wait_for_answer(lambda: self.client.acquire("actors/" + victim, "b",
                                                                     timeout=2))
                self.assertEqual(answer.result, GRANTED)
                after = self.node.wait_actors()
                self.assertEqual({name: pid for name, pid in after.items() if name != victim},
                                 {name: pid for name, pid in before.items() if name != victim},
                                 "the death of one actor must not restart another")
        wait_for("the node is ready", lambda: self.ready(), 30)

    def ready(self):
        try:
            return self.node.http("/actuator/health/readiness")[0] == 200
        except OSError:
            return False

    @needs_processes
    def test_s9_a_stopped_actor_is_replaced(self):
        for victim in ("lock", "frontend"):
            with self.subTest(actor=victim):
                before = self.node.wait_actors()
                os.kill(before[victim], signal.SIGSTOP)
                wait_for("%s is replaced" % victim, lambda: self.node.actor_pids().get(victim)
                         not in (None, before[victim]), 20)
                self.assertEqual(wait_for_answer(
                    lambda: self.client.acquire("stopped/" + victim, "a", timeout=2)).result,
                    GRANTED)

    def test_s9_a_frozen_node_thaws_whole(self):
        before = self.node.wait_actors()
        held = self.assert_granted(self.client.acquire("frozen", "a", ttl_ms=60000))
        self.node.pause()
        time.sleep(4)
        self.node.resume()
        self.assert_still_held("frozen", "a", held)
        self.assertEqual(self.node.wait_actors(), before, "nobody missed a ping, all were frozen")

    def test_hostile_bytes_on_all_ports(self):
        before = self.node.wait_actors()
        chance = random.Random(11)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        settings = b"\0\0\0\4\0\0\0\0\0"
        attacks = [
            b"", b"\0" * 4096, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000,
            b"POST /actuator/health HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nxx",
            b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
            preface + b"\xff" * 1000,
            preface + settings + b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 100000,
            preface + settings + b"\0\0\4\3\0\0\0\0\1\0\0\0\0" * 500,
            preface + settings + b"\0\x40\0\1\0\0\0\0\1" + chance.randbytes(16384),
            preface + settings + b"\0\0\x05\x09\0\0\0\0\1hello" * 200,
        ] + [chance.randbytes(chance.randrange(1, 5000)) for _ in range(20)] + [
            preface + settings + chance.randbytes(chance.randrange(1, 2000)) for _ in range(20)]
        for port in (self.node.grpc_port, self.node.region_port, self.node.actuator_port):
            for attack in attacks:
                send_bytes(port, attack)
        idle = [socket.create_connection(("127.0.0.1", port)) for port in
                (self.node.grpc_port, self.node.region_port) for _ in range(50)]
        self.assertEqual(self.client.acquire("hostile", "a").result, GRANTED)
        for connection in idle:
            connection.close()
        self.assertEqual(self.node.http("/actuator/health/liveness")[0], 200)
        self.assertEqual(self.node.actor_pids(), before, "an actor has died of hostile bytes")

    def test_hostile_frames_of_well_formed_calls(self):
        before = self.node.wait_actors()
        chance = random.Random(12)
        paths = ["/lockmgr.v1.LockService/" + name for name in
                 ("Acquire", "Release", "Renew", "Cancel", "Get", "List")]
        paths += ["/lockmgr.v1.AdminService/GetStatus", "/grpc.health.v1.Health/Check",
                  "/lockmgr.peer.v1.RaftService/Forward",
                  "/lockmgr.peer.v1.RaftService/Undelivered"]
        for path in paths:
            call = self.client.channel.unary_unary(path)
            for _ in range(30):
                try:
                    call(chance.randbytes(chance.randrange(0, 300)), timeout=5)
                except grpc.RpcError as error:
                    self.assertIn(error.code(), (
                        INVALID, PRECONDITION, grpc.StatusCode.PERMISSION_DENIED,
                        grpc.StatusCode.NOT_FOUND), "%s: %s" % (path, Refusal(error)))
        for path in ("/lockmgr.peer.v1.RaftService/Link",
                     "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                     "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"):
            call = self.client.channel.stream_stream(path)
            for _ in range(10):
                try:
                    list(call(iter([chance.randbytes(chance.randrange(0, 300))]), timeout=5))
                except grpc.RpcError:
                    pass
        self.assertEqual(self.client.acquire("hostile/2", "a").result, GRANTED)
        self.assertEqual(self.node.actor_pids(), before)

    def test_sigterm_stops_in_order(self):
        self.node.wait_actors()
        begin = time.monotonic()
        self.assertEqual(self.node.stop(), 0)
        self.assertLess(time.monotonic() - begin, 10.5)

    @needs_processes
    def test_s17_second_supervisor_and_second_raft(self):
        second = subprocess.run([os.path.join(BIN, "lockmgrd"), "--config", self.node.config_path],
                                capture_output=True, text=True, timeout=20,
                                env=clean_environment())
        self.assertEqual(second.returncode, 75, second.stderr)
        self.assertIn(self.node.run_dir, second.stderr + second.stdout)
        thief = self.region.add_node()
        config = thief.config()
        config.update(node="n1", data_dir=self.node.data_dir)
        config["peers"][0]["grpc_port"] = thief.grpc_port
        write_config(thief.config_path, config)
        thief.start(config_path=thief.config_path)
        wait_for("the second raft has ended with 75", lambda: "75" in thief.log(), 20)
        self.assertTrue(thief.runs(), "it is tried again")
        self.assertEqual(self.client.acquire("second", "a").result, GRANTED)
        self.assertEqual(thief.stop(), 0)


class Refusing(ClusterCase):
    """What a node refuses to start with."""

    def run_once(self, config, environment=None, arguments=()):
        path = os.path.join(self.region.root, "once.cfg")
        if isinstance(config, dict):
            write_config(path, config)
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(config)
        return subprocess.run([os.path.join(BIN, "lockmgrd"), "--config", path, *arguments],
                              capture_output=True, text=True, timeout=20,
                              env={**clean_environment(), **(environment or {})})

    def setUp(self):
        type(self).region = Region(1, start=False)
        self.node = self.region.node(1)

    def tearDown(self):
        self.region.close()

    def test_all_problems_at_once(self):
        config = self.node.config()
        config.update(raft={"election_timeout_ms": 100, "heartbeat_interval_ms": 60},
                      lock={"min_timeout_ms": 5000, "default_timeout_ms": 2000,
                            "max_timeout_ms": 1000},
                      unheard_of=3, run_dir="/" + "x" * 90)
        config["service"].update(region_port=self.node.grpc_port, actuator_port="many")
        done = self.run_once(config)
        self.assertEqual(done.returncode, 78, done.stderr)
        for word in ("heartbeat_interval_ms", "min_timeout_ms", "max_timeout_ms", "unheard_of",
                     "run_dir", "region_port", "actuator_port"):
            self.assertIn(word, done.stderr)
        self.assertRegex(done.stderr, r"once\.cfg:\d+")

    def test_check_looks_only(self):
        good = self.run_once(self.node.config(), arguments=("--check",))
        self.assertEqual(good.returncode, 0, good.stderr)
        self.assertEqual(os.listdir(self.node.data_dir), [])
        bad = self.run_once({**self.node.config(), "peer_auth": "none"}, arguments=("--check",))
        self.assertEqual(bad.returncode, 78)
        self.assertIn("peer_auth", bad.stderr)

    def test_syntax_error(self):
        done = self.run_once('node = "n1";\nregion = { id = ;\n')
        self.assertEqual(done.returncode, 78)
        self.assertIn("once.cfg:2", done.stderr)

    def test_environment_errors_name_the_variable(self):
        done = self.run_once(self.node.config(),
                             {"LOCKMGR_SERVICE_GRPC_PORT": "many",
                              "LOCKMGR_RAFT_HEARTBEAT_INTERVAL_MS": "140"})
        self.assertEqual(done.returncode, 78)
        self.assertIn("LOCKMGR_SERVICE_GRPC_PORT", done.stderr)
        self.assertIn("LOCKMGR_RAFT_HEARTBEAT_INTERVAL_MS", done.stderr)

    def test_usage(self):
        done = subprocess.run([os.path.join(BIN, "lockmgrd"), "--no-such-option"],
                              capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 64)

    def form(self):
        """Lets the node write its data, with a lock in it, and stops it."""
        self.node.start()
        self.region.wait_serving()
        self.node.client.acquire("kept", "a", ttl_ms=60000)
        self.assertEqual(self.node.stop(), 0)

    def assert_refuses(self, code, *words):
        self.node.start()
        self.assertEqual(self.node.wait_exit(), code, self.node.log()[-2000:])
        text = self.node.log()
        for word in words:
            self.assertIn(word, text)

    def test_foreign_file(self):
        self.form()
        path = os.path.join(self.node.data_dir, "holiday.jpg")
        open(path, "w").close()
        self.assert_refuses(79, "holiday.jpg")
        os.unlink(path)
        self.node.start()
        self.region.wait_serving()
        self.assertEqual(len(self.node.client.get("kept").holders), 1)

    def test_damaged_files(self):
        self.form()
        saved = self.node.data_dir + ".saved"
        shutil.copytree(self.node.data_dir, saved)
        for name, damage in self.damages():
            with self.subTest(file=name):
                shutil.rmtree(self.node.data_dir)
                shutil.copytree(saved, self.node.data_dir)
                damage(os.path.join(self.node.data_dir, name))
                self.assert_refuses(79, name)

    def damages(self):
        names = os.listdir(self.node.data_dir)

        def flip(path):
            with open(path, "r+b") as file:
                size = os.path.getsize(path)
                file.seek(size // 2)
                byte = file.read(1)
                file.seek(size // 2)
                file.write(bytes((byte[0] ^ 0x10,)))

        def empty(path):
            os.truncate(path, 0)
        closed = [name for name in names if name[0].isdigit() and "-" in name]
        self.assertTrue(closed, names)
        return [("identity", flip), ("identity", empty), (sorted(closed)[-1], flip)]

    def test_data_of_another_region_or_node(self):
        self.form()
        self.region.region_id = "elsewhere"
        self.assert_refuses(78, "elsewhere", "test")
        self.region.region_id = "test"
        self.node.name = "n9"
        self.assert_refuses(78, "n9", "n1")

    @needs_processes
    def test_s17_data_in_use_is_tried_again(self):
        self.form()
        self.node.start()
        self.region.wait_serving()
        heir = self.region.add_node()
        config = heir.config()
        config.update(node="n1", data_dir=self.node.data_dir)
        config["peers"][0]["grpc_port"] = heir.grpc_port
        write_config(heir.config_path, config)
        heir.start(config_path=heir.config_path)
        wait_for("its raft has been refused", lambda: "75" in heir.log(), 20)
        self.assertEqual(self.node.stop(), 0)
        self.region.wait_serving(nodes=[heir])
        self.assertEqual(len(heir.client.get("kept").holders), 1)


def send_bytes(port, data):
    """Sends bytes and reads whatever comes for a moment."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(0.05)
            connection.sendall(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            while connection.recv(65536):
                pass
    except OSError:
        pass


if __name__ == "__main__":
    main()
