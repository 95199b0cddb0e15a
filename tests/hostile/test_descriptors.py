#!/usr/bin/python3
"""More connections than a frontend has descriptors for, and greetings that are never completed."""

import os
import resource
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

import grpc

import raw_http2 as h2
from calls import Client
from certs import Certs
from cluster_case import ClusterCase, main, needs_processes
from region import FULL, Region, wait_for
from service import Service

DESCRIPTORS = 256
CONNECTIONS = 5000 if FULL else 600
GREETINGS = 2000 if FULL else 150


def connect(port):
    """A connection that has only just begun, or None."""
    stranger = socket.socket()
    stranger.setblocking(False)
    try:
        stranger.connect(("127.0.0.1", port))
    except BlockingIOError:
        pass
    except OSError:
        stranger.close()
        return None
    return stranger


def close_all(strangers):
    for stranger in strangers:
        stranger.close()


def time_to_serve(node, lock, seconds=60, **how):
    """Until a client that has only just come gets an answer."""
    begin = time.monotonic()

    def answers():
        client = Client(node.address, **how)
        try:
            return client.get(lock, timeout=2)
        except grpc.RpcError:
            return None
        finally:
            client.close()
    wait_for("a new client is served", answers, seconds)
    return time.monotonic() - begin


class Descriptors(ClusterCase):
    N_NODES = 3
    SETTINGS = {"raft": {"election_timeout_ms": 1000, "heartbeat_interval_ms": 100}}

    def setUp(self):
        self.node = self.region.followers()[0]

    def few_descriptors(self):
        """For the frontend as it is, and for every one that follows it."""
        pids = self.node.wait_actors()
        for pid in (pids["frontend"], self.node.process.pid):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        return pids

    @needs_processes
    def test_connections_that_come_one_by_one_leave_room_for_clients(self):
        pids = self.few_descriptors()
        service = Service([self.node])
        strangers, begin = [], time.monotonic()
        while len(strangers) < CONNECTIONS:
            strangers += filter(None, [connect(self.node.grpc_port)])
            time.sleep(0.005)
        took = time_to_serve(self.node, "descriptors")
        close_all(strangers)
        part = service.part(begin, time.monotonic())
        service.stop()
        print("%d connections one by one, %d descriptors: a new client is served after %.1f s; n p50 p99 err: %s"
              % (len(strangers), DESCRIPTORS, took, part))
        self.assertEqual(self.node.actor_pids(), pids, "an actor has died")
        self.assertEqual(part.errors, [])
        self.assertEqual(service.lost, [])
        wait_for("the node tells of it", lambda: self.node.metric(
            "lockmgr_frontend_connections_ended_total", reason="descriptors"), 10, 0.2)

    @needs_processes
    def test_a_burst_may_cost_the_listener_but_no_more(self):
        pids = self.few_descriptors()
        strangers = [one for one in (connect(self.node.grpc_port) for _ in range(CONNECTIONS)) if one]
        time.sleep(3)
        close_all(strangers)
        took = time_to_serve(self.node, "descriptors")
        print("%d connections at once: a new client is served %.1f s after they have gone; the frontend was %s"
              % (len(strangers), took,
                 "replaced" if self.node.actor_pids().get("frontend") != pids["frontend"] else "not replaced"))
        self.assertLess(took, 30)
        self.assertEqual({name: pid for name, pid in self.node.wait_actors().items() if name != "frontend"},
                         {name: pid for name, pid in pids.items() if name != "frontend"})


class Greetings(ClusterCase):
    """TLS that is begun and not completed: it is ended within seconds, and keeps nobody out."""

    def test_half_open_handshakes(self):
        certs = Certs()
        self.addCleanup(certs.close)
        region = Region(1, certs=certs, settings={"limits": {"connections_per_address_max": 0}})
        self.addCleanup(region.close)
        region.wait_serving()
        node = region.node(1)
        strangers = [socket.create_connection(("127.0.0.1", node.grpc_port)) for _ in range(GREETINGS)]
        for number, stranger in enumerate(strangers):
            stranger.sendall((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", h2.PREFACE, b"", b"\x16")[number % 4])
        took = time_to_serve(node, "greetings", credentials=certs.credentials("tester"), name=node.name)
        begin = time.monotonic()
        for stranger in strangers:
            stranger.settimeout(20)
            try:
                while stranger.recv(4096):
                    pass
            except ConnectionError:
                pass
        ended = time.monotonic() - begin
        close_all(strangers)
        print("%d half-open handshakes: a new client is served after %.1f s; they are ended after %.1f s"
              % (GREETINGS, took, ended))
        self.assertLess(took, 15)


if __name__ == "__main__":
    main()
