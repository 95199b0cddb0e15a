#!/usr/bin/python3
"""Every limit at its value and at one more: the status and the reason that docs/LIMITS.md promises, and the
region goes on."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

import grpc

import raw_http2 as h2
import stubs
from calls import GRANTED, HELD, Client, refusal_of, request, wait_for_answer
from cluster_case import ClusterCase, main
from raw_http2 import Connection, frame, message, request_headers
from region import wait_for

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
WAITERS, HOLDS, LOCKS, STREAMS, REQUEST_BYTES, METADATA_BYTES = 5, 7, 20, 10, 4096, 16384
CONNECTIONS = 40


class Limits(ClusterCase):
    N_NODES = 1
    SETTINGS = {"limits": {"waiters_per_lock_max": WAITERS, "holds_per_owner_max": HOLDS, "locks_max": LOCKS,
                           "concurrent_streams_max": STREAMS, "request_bytes_max": REQUEST_BYTES,
                           "connections_per_address_max": CONNECTIONS}}

    def setUp(self):
        self.node = self.region.node(1)
        self.client = self.connected()

    def connected(self):
        """A client whose connection is there: a busy machine may need more than one attempt."""
        client = Client(self.node.address)
        self.addCleanup(client.close)
        wait_for_answer(lambda: client.get("limits/connected"))
        return client

    def assert_served(self):
        """Somebody else notices nothing."""
        client = self.connected()
        held = client.acquire("limits/served", "somebody")
        self.assertEqual(held.result, GRANTED)
        client.release("limits/served", "somebody", held.hold_id)

    def assert_over(self, call, reason, code=EXHAUSTED):
        self.assert_refused(call, code, reason)
        self.assert_served()

    def test_waiters_of_one_lock(self):
        held = self.client.acquire("waiters", "holder")
        clients = [self.connected() for _ in range(WAITERS + 1)]
        waiting = [client.acquire_later("waiters", "w%d" % number, wait_ms=-1)
                   for number, client in enumerate(clients[:WAITERS])]
        wait_for("all wait", lambda: self.client.get("waiters").waiter_count == WAITERS, 20)
        self.assert_over(lambda: clients[WAITERS].acquire("waiters", "last", wait_ms=-1), "QUOTA_EXCEEDED")
        self.assertEqual(clients[WAITERS].acquire("waiters", "last").result, HELD, "who does not wait takes no place")
        waiting[0].cancel()
        wait_for("one has left", lambda: self.client.get("waiters").waiter_count == WAITERS - 1, 20)
        last = clients[WAITERS].acquire_later("waiters", "last", wait_ms=-1)
        wait_for("another takes its place", lambda: self.client.get("waiters").waiter_count == WAITERS, 20)
        self.client.release("waiters", "holder", held.hold_id)
        for call in (*waiting, last):
            call.cancel()
        wait_for("nobody waits", lambda: self.client.get("waiters").waiter_count == 0, 20)
        self.release_what_was_granted("waiters", ["w%d" % number for number in range(WAITERS)] + ["last"])

    def release_what_was_granted(self, name, owners):
        """A grant may have crossed its cancellation."""
        def is_free():
            for owner in owners:
                held = self.client.acquire(name, owner)
                if held.result == GRANTED:
                    self.client.release(name, owner, held.hold_id)
            return not self.client.get(name).holders
        wait_for("%s is free" % name, is_free, 20)

    def test_holds_of_one_owner(self):
        held = {}
        for number in range(HOLDS):
            name = "holds/%d" % number
            held[name] = self.client.acquire(name, "greedy").hold_id
        self.assert_over(lambda: self.client.acquire("holds/more", "greedy"), "QUOTA_EXCEEDED")
        self.assertEqual(self.client.acquire("holds/0", "greedy").result, GRANTED, "what it has it may ask for")
        self.client.release("holds/1", "greedy", held.pop("holds/1"))
        held["holds/more"] = self.client.acquire("holds/more", "greedy").hold_id
        held["holds/0"] = self.client.acquire("holds/0", "greedy").hold_id
        for name, hold_id in held.items():
            self.client.release(name, "greedy", hold_id)

    def test_locks_of_the_region(self):
        held = []
        for number in range(LOCKS):
            name, owner = "locks/%d" % number, "o%d" % (number // HOLDS)
            held.append((name, owner, self.client.acquire(name, owner).hold_id))
        self.assert_refused(lambda: self.client.acquire("locks/more", "other"), EXHAUSTED, "QUOTA_EXCEEDED")
        self.assertEqual(self.client.acquire("locks/0", "other").result, HELD, "those that are there are served")
        for name, owner, hold_id in held:
            self.client.release(name, owner, hold_id)
        self.assert_served()

    def test_bytes_of_a_request(self):
        call = self.client.channel.unary_unary("/lockmgr.v1.LockService/Acquire")
        body = request("size", "owner").SerializeToString()

        def padded(size):
            """With a field that nobody knows."""
            filling = size - len(body) - 4
            return body + b"\xfa\x7f" + h2.varint(filling) + bytes(filling)
        self.assertEqual(len(padded(REQUEST_BYTES)), REQUEST_BYTES)
        held = stubs.lock_pb2.AcquireResponse.FromString(call(padded(REQUEST_BYTES), timeout=5))
        self.client.release("size", "owner", held.hold_id)
        self.assert_over(lambda: call(padded(REQUEST_BYTES + 1), timeout=5), "TOO_LARGE")

    def test_fields_of_a_request(self):
        good = dict(name="n" * 512, owner="o" * 256, request_id="r" * 128, wait_ms=0)
        held = self.client.acquire(**good)
        self.assertEqual(held.result, GRANTED)
        for field, value in (("name", "n" * 513), ("owner", "o" * 257), ("request_id", "r" * 129), ("name", ""),
                             ("owner", ""), ("name", "a\0b"), ("wait_ms", -2), ("wait_ms", 86400001)):
            with self.subTest(field=field):
                self.assert_invalid(lambda field=field, value=value: self.client.acquire(**{**good, field: value}), field)
        self.client.release(good["name"], good["owner"], held.hold_id)
        self.assert_served()

    def test_bytes_of_headers(self):
        """gRPC counts 32 bytes for each header besides its text, and those it makes itself."""
        def ask(size):
            return self.connected().locks.Get(stubs.lock_pb2.GetRequest(name="x"), timeout=5,
                                              metadata=(("x-filling", "y" * size),))
        self.assertEqual(ask(METADATA_BYTES - 2048).lock.name, "x")
        refusal = refusal_of(lambda: ask(METADATA_BYTES + 1))
        self.assertIn(refusal.code, (EXHAUSTED, grpc.StatusCode.UNAVAILABLE), refusal)
        self.assert_served()

    def test_streams_of_one_connection(self):
        """A client of gRPC keeps the rest back; one that does not loses its connection."""
        held = self.client.acquire("streams", "holder")
        connection = Connection(self.node.grpc_port)
        time.sleep(0.2)
        connection.send(frame(h2.SETTINGS, h2.ACK))
        time.sleep(0.2)
        for number in range(STREAMS + 1):
            body = message(h2.field(1, "streams/free") + h2.field(2, "s%d" % number))
            connection.send(frame(h2.HEADERS, h2.END_HEADERS, connection.next_stream(), request_headers(h2.ACQUIRE)))
            if number == STREAMS:
                connection.send(frame(h2.DATA, h2.END_STREAM, connection.stream, body))
        answered = [stream for kind, _, stream, body in connection.frames(5) if b"grpc-status\x010" in body]
        self.assertNotIn(connection.stream, answered, "the stream beyond the limit was served")
        with self.assertRaises(OSError, msg="the connection is ended"):
            connection.drain()
            connection.drain()
        connection.close()
        calls = [self.client.acquire_later("streams", "w%d" % number, wait_ms=1000, timeout=20)
                 for number in range(WAITERS)]
        for call in calls:
            self.assertNotEqual(call.result().result, GRANTED)
        self.client.release("streams", "holder", held.hold_id)
        self.assert_served()

    def test_connections_of_one_address(self):
        """Clients that have called keep theirs; what is one too many is closed, counted and logged, and the node's
        calls to itself, which come from the same address, go on."""
        pid = self.node.actor_pids()["frontend"]
        name, reason = "lockmgr_frontend_connections_ended_total", {"reason": "address"}

        def ended():
            return self.node.metric(name, **reason) or 0

        def is_open(connection):
            try:
                connection.drain()
                return True
            except OSError:
                return False
        wait_for("earlier tests' connections have gone",
                 lambda: (self.node.metric("lockmgr_frontend_connections") or 99) < CONNECTIONS - 8, 30, 0.3)
        before = ended()
        strangers = [Connection(self.node.grpc_port) for _ in range(CONNECTIONS - 8)]
        time.sleep(3)
        self.assertEqual([is_open(one) for one in strangers], [True] * len(strangers), "there is room for all")
        self.assertEqual(ended(), before)
        strangers += [Connection(self.node.grpc_port) for _ in range(20)]
        wait_for("some are ended", lambda: sum(map(is_open, strangers)) <= CONNECTIONS, 10)
        self.assertGreater(sum(map(is_open, strangers)), CONNECTIONS - 12, "and no more than is needed")
        self.client.get("limits/connected")
        wait_for("it is counted", lambda: ended() > before, 10, 0.3)
        time.sleep(12)  # two of the node's calls to itself
        self.assertEqual(self.node.actor_pids()["frontend"], pid)
        for one in strangers:
            one.close()
        wait_for("the log says so", lambda: "limits.connections_per_address_max" in self.node.log(), 5)
        self.assert_served()


if __name__ == "__main__":
    main()
