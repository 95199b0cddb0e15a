"""Connections of clients that have reached their age are told to go, and ended after their grace, unless a
call waits for a lock; who waits, holds or keeps a session alive does not notice, nor do the nodes among each other.

The age is one of seconds here, so that everything lives through several."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import grpc

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "hostile"))

import raw_http2 as h2
from calls import GRANTED, PASSING, Client
from cluster_case import ClusterCase, main
from holder import Holder
from raw_http2 import Connection, frame, message, request_headers
from region import BIN, clean_environment, wait_for

AGE, GRACE = 2.0, 1.0
SECONDS = 13  # three ages with their graces, and more
LOCKS = 10
NO_ERROR, ENHANCE_YOUR_CALM = 0, 11


def goaways(connection, seconds):
    """[(when, code, debug data)] of the GOAWAYs that come within that time, or until the end."""
    begin, seen = time.monotonic(), []
    for kind, flags, _, body in connection.frames(seconds):
        if kind == h2.GOAWAY:
            seen.append((time.monotonic() - begin, int.from_bytes(body[4:8], "big"), body[8:]))
        elif kind == h2.PING and not flags & h2.ACK:
            connection.send(frame(h2.PING, h2.ACK, 0, body))
    return seen


class Ages(ClusterCase):
    N_NODES = 3
    # Elections shall tell of links that broke, not of a machine that is busy.
    SETTINGS = {"raft": {"election_timeout_ms": 500},
                "grpc": {"max_connection_age_ms": int(AGE * 1000),
                         "max_connection_age_grace_ms": int(GRACE * 1000)}}

    def setUp(self):
        self.leader = self.region.leader()

    # ---- what happens to a connection ----

    def test_connections_are_told_to_go_at_their_age_and_not_all_at_once(self):
        port = self.region.node(1).grpc_port
        seen = []

        def live():
            connection = Connection(port)
            told = goaways(connection, 4 * AGE)
            connection.close()
            seen.append(told)

        threads = [threading.Thread(target=live) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for told in seen:
            self.assertTrue(told, "it was not told")
            self.assertTrue(all(code == NO_ERROR for _, code, _ in told), told)
            self.assertTrue(0.85 * AGE < told[0][0] < 1.1 * AGE + 3, told)
        moments = sorted(told[0][0] for told in seen)
        print("told after %s s" % " ".join("%.2f" % moment for moment in moments), flush=True)
        self.assertGreater(moments[-1] - moments[0], 0.02 * AGE)

    def test_calls_go_on_for_the_grace_and_then_the_connection_is_ended(self):
        node = self.region.node(1)
        connection = Connection(node.grpc_port)
        self.addCleanup(connection.close)
        begin = time.monotonic()
        stream = connection.next_stream()
        connection.send(frame(h2.HEADERS, h2.END_HEADERS, stream, request_headers(h2.WATCH)) +
                        frame(h2.DATA, h2.END_STREAM, stream, message(b"")))
        told = goaways(connection, 10)
        ended = time.monotonic() - begin
        print("told after %.2f s, ended after %.2f s" % (told[0][0], ended), flush=True)
        self.assertTrue(AGE + GRACE < ended < 1.2 * AGE + GRACE + 4, ended)
        wait_for("it is counted", lambda: node.metric("lockmgr_frontend_connections_ended_total",
                                                      reason="age"), 10)

    # ---- what users see of it ----

    def start(self, *arguments):
        process = subprocess.Popen(
            [os.path.join(BIN, "lockctl"), "--endpoints", self.region.addresses(), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
        self.addCleanup(process.kill)
        return process

    def finish(self, process, code=0):
        out, errors = process.communicate(timeout=30)
        self.assertEqual((process.returncode, errors), (code, ""), out)
        return out

    def wait_by_hand(self, node, name, answers):
        """As a generic client, on one channel; it would repeat what is cut with its request id."""
        client = Client(node.address)
        wanted = {"request_id": uuid.uuid4().hex, "ttl_ms": 20000, "wait_ms": 30000}
        cuts, end = 0, time.monotonic() + 30
        try:
            while time.monotonic() < end:
                try:
                    answers.append((client.acquire(name, "by-hand-" + node.name, timeout=30, **wanted), cuts))
                    return
                except grpc.RpcError as error:
                    if error.code() not in PASSING:
                        raise
                    cuts += 1
                    time.sleep(0.1)
        finally:
            client.close()

    def signs(self):
        """What would change if the nodes lost each other: the term, and how often links came up."""
        return (self.leader.client.status().header.term,
                sum(node.log().count("link to") for node in self.region.nodes))

    def test_s10_waits_holds_and_sessions_live_through_many_ages_and_so_do_the_links(self):
        plain = Client(self.leader.address)
        self.addCleanup(plain.close)
        names = ["wait/ctl", *("wait/" + node.name for node in self.region.nodes)]
        taken = {name: self.assert_granted(plain.acquire(name, "first", ttl_ms=60000)) for name in names}
        before = self.signs()
        holder = Holder(self.region.addresses(), "aged/", LOCKS, 6000)
        self.addCleanup(holder.kill)
        session = holder.ready(60)
        answers = []
        threads = [threading.Thread(target=self.wait_by_hand, args=(node, "wait/" + node.name, answers))
                   for node in self.region.nodes]
        for thread in threads:
            thread.start()
        waiting = self.start("acquire", "wait/ctl", "-w", "30s", "-o", "json")
        keeping = self.start("run", "held/by-run", "--ttl", "4s", "--", "sleep", str(SECONDS))
        opened = json.loads(self.finish(self.start("session", "open", "--ttl", "6s", "-o", "json")))
        secret = ("--secret", opened["secret"])
        keepalive = self.start("session", "keepalive", opened["sessionId"], *secret)
        time.sleep(SECONDS)

        # Who waits gets what it waits for, in one call.
        for name, grant in taken.items():
            self.region.leader().client.release(name, "first", grant.hold_id)
        self.assertEqual(json.loads(self.finish(waiting))["result"], "ACQUIRE_RESULT_GRANTED")
        for thread in threads:
            thread.join()
        self.assertEqual([answer.result for answer, _ in answers], [GRANTED] * 3)
        self.assertEqual([cuts for _, cuts in answers], [0] * 3, "who is cut loses his place in the queue")

        # Nothing that is held was lost.
        self.finish(keeping)
        self.assertIsNone(keepalive.poll())
        keepalive.send_signal(signal.SIGTERM)
        self.finish(keepalive, 128 + signal.SIGTERM)
        code, report = holder.end()
        print("session %s: %s" % (session, report), flush=True)
        self.assertEqual((code, report["held"], report["losses"], report["failures"]),
                         (0, LOCKS, 0, 0), (report, holder.errors))
        self.assertEqual(holder.seen(), [], "no jeopardy")
        self.assertGreater(report["cycles"], 0)

        # The nodes have not lost each other for a moment.
        self.assertEqual(self.signs(), before)
        ended = sum(node.metric("lockmgr_frontend_connections_ended_total", reason="age") or 0
                    for node in self.region.nodes)
        self.assertGreater(ended, 3)


class Settings(ClusterCase):
    """Other values than the defaults, of what else there is in that group."""

    N_NODES = 1
    SETTINGS = {"grpc": {"max_connection_age_ms": 0, "keepalive_time_ms": 1000, "keepalive_timeout_ms": 1000,
                         "keepalive_min_interval_ms": 1000, "reflection": "off"}}

    def setUp(self):
        self.node = self.region.node(1)

    def test_without_reflection_it_is_unimplemented_and_nothing_else(self):
        with grpc.insecure_channel(self.node.address) as channel:
            for version in ("v1", "v1alpha"):
                name = "grpc.reflection.%s.ServerReflection" % version
                ask = channel.stream_stream("/%s/ServerReflectionInfo" % name)
                self.assert_refused(lambda: list(ask(iter([b"\x3a\x00"]), timeout=10)),
                                    grpc.StatusCode.UNIMPLEMENTED)
                health = channel.unary_unary("/grpc.health.v1.Health/Check")
                self.assert_refused(lambda: health(h2.field(1, name), timeout=10),
                                    grpc.StatusCode.NOT_FOUND)
        self.assert_granted(self.node.client.acquire("still/there", "me"))

    def ping(self, pause, times):
        """GOAWAYs that follow pings at that pace, and whether the connection is still there."""
        connection = Connection(self.node.grpc_port)
        self.addCleanup(connection.close)
        seen = []
        for _ in range(times):
            try:
                connection.send(frame(h2.PING, 0, 0, bytes(8)))
            except OSError:
                break
            seen += goaways(connection, pause)
        return [(code, text) for _, code, text in seen]

    def test_pings_may_come_at_their_pace_and_not_faster(self):
        self.assertEqual(self.ping(1.0, 5), [])
        self.assertIn((ENHANCE_YOUR_CALM, b"too_many_pings"), self.ping(0.05, 20))

    def test_who_does_not_answer_the_nodes_own_pings_is_ended(self):
        connection = Connection(self.node.grpc_port)
        self.addCleanup(connection.close)
        begin, pings = time.monotonic(), 0
        for kind, flags, _, _ in connection.frames(20):
            pings += kind == h2.PING and not flags & h2.ACK
        self.assertTrue(pings >= 1 and time.monotonic() - begin < 10, pings)


if __name__ == "__main__":
    main()
