"""A region of three nodes with well-behaved clients, its leader attacked by one attack after the other, and one
table of what the clients got. What the tests of attacks have in common.

Times are printed and not judged: attackers, nodes and clients share few processors. Judged is: no actor dies,
nobody is elected, no hold is lost, memory stays bounded, every well-behaved call succeeds - at the latest when it
is repeated with its request id, as docs/API.md tells clients to do - and afterwards everybody is served."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

import grpc

from burden import Strangers
from calls import Client
from cluster_case import ClusterCase, main, needs_processes
from region import FULL, Region, wait_for
from service import Service

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = float(os.environ.get("LM_HOSTILE_SECONDS") or (20 if FULL else 1))
CALM_SECONDS = 5 if FULL else 0.4
ONLY = [name for name in os.environ.get("LM_HOSTILE_ONLY", "").split(",") if name]
RSS_MOST = 512 << 20
STRANGERS_MOST = 0.1
ATTEMPTS = 3
SERVED_SECONDS = 20
NOTHING = '{"sent": 0, "ended": 0}'


def rss(pid):
    try:
        with open("/proc/%d/statm" % pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Siege(ClusterCase):
    # Attackers and nodes share the processors, so followers are given somewhat more time than by default.
    SETTINGS = {"raft": {"election_timeout_ms": 1000, "heartbeat_interval_ms": 100}}
    # More arguments of attacks.py for each source that attacks at the same time.
    SOURCES = ((),)
    # Which of a node's ports for gRPC is attacked.
    AT = "grpc_port"
    certs = credentials = service = None

    @classmethod
    def setUpClass(cls):
        cls.table = []
        cls.region = Region(3, settings=cls.SETTINGS, certs=cls.certs, start=False)
        if cls.AT == "raft_port":
            cls.region.give_raft_ports()
        cls.region.start()
        cls.wait_serving()
        cls.service = Service(cls.region.nodes, cls.credentials, repeats=True)
        time.sleep(2)

    @classmethod
    def tearDownClass(cls):
        cls.service.stop()
        super().tearDownClass()
        print("\n| attack | sent | ended | before: p50, p99, served | during | after | repeated | elections | frontend MiB |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name, count, parts, elections, most in cls.table:
            print("| %s | %d | %d | %s | %d | %d | %d |" % (
                name, count["sent"], count["ended"], " | ".join(part.summary() for part in parts),
                sum(part.repeats for part in parts), elections, most >> 20))

    def term(self):
        return max(wait_for("%s answers" % node.name, lambda node=node: node.status(10), 30).header.term
                   for node in self.region.nodes)

    def begin_attack(self, name, victim, source):
        return subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "attacks.py"), name, str(SECONDS),
             *(str(getattr(victim, port)) for port in (self.AT, "region_port", "actuator_port")), *source], stdout=subprocess.PIPE, text=True)

    @staticmethod
    def end_attack(process):
        process.kill()
        count = json.loads(process.stdout.read() or NOTHING)
        process.stdout.close()
        process.wait()
        return count

    def watch(self, processes, frontend, start):
        """Until the attack is over; returns the most memory that the frontend had."""
        most = 0
        while any(one.poll() is None for one in processes) and time.monotonic() < start + SECONDS + 30:
            most = max(most, rss(frontend))
            time.sleep(0.1)
        return most

    def attack(self, name, victim):
        """Runs one, and judges what must never be. Returns by how many terms the region went on, the share of
        others in what the machine did, and the parts of the service while it was there and after."""
        pids = [node.actor_pids() for node in self.region.nodes]
        frontend = victim.actor_pids().get("frontend", victim.process.pid)
        term, strangers, begin = self.term(), Strangers(self.region.nodes), time.monotonic()
        time.sleep(CALM_SECONDS)
        start = time.monotonic()
        processes = [self.begin_attack(name, victim, source) for source in self.SOURCES]
        most = self.watch(processes, frontend, start)
        counts = [self.end_attack(process) for process in processes]
        count = {key: sum(one[key] for one in counts) for key in json.loads(NOTHING)}
        stop = time.monotonic()
        time.sleep(CALM_SECONDS)
        wait_for("a call ends behind the attack", lambda: self.service.part(stop, time.monotonic()).n, SERVED_SECONDS)
        share, elections = strangers.share(), self.term() - term
        parts = [self.service.part(*times) for times in (
            (begin, start), (start, stop), (stop, time.monotonic()))]
        self.table.append((name, count, parts, elections, most))
        self.assertGreater(count["sent"], 0, "there was no attack")
        self.assertEqual([node.actor_pids() for node in self.region.nodes], pids, "an actor has died")
        self.assertLess(most, RSS_MOST)
        return elections, share, parts[1], parts[2]

    def new_client_is_served(self, node):
        client = Client(node.address, self.credentials, node.name if self.credentials else None)
        try:
            return client.get("siege/new", timeout=5)
        except grpc.RpcError:
            return None
        finally:
            client.close()

    def withstand(self, name):
        victim = self.region.leader()
        for _ in range(ATTEMPTS):
            elections, strangers, during, after = self.attack(name, victim)
            if elections == 0 or strangers < STRANGERS_MOST:
                break
        self.assertEqual(elections, 0, "somebody was elected")
        self.assertEqual(self.service.lost, [])
        for part in (during, after):
            self.assertGreater(part.n, 0)
            self.assertEqual(part.errors, [], "a well-behaved call did not succeed")
        for node in self.region.nodes:
            wait_for("a new client is served by %s" % node.name,
                     lambda node=node: self.new_client_is_served(node), SERVED_SECONDS)


def add(case, name):
    @needs_processes
    def test(self):
        self.withstand(name)
    setattr(case, "test_" + name, test)
