#!/usr/bin/python3
"""A rolling update, as its callers see it: nodes stop and come back one after the other, 3, 2, 1,
while lockctl takes locks and gives them back. Callers by way of one address that leads to one of the
nodes, as a ClusterIP does, callers of one node that stays, callers that know all, and one of gRPC's
own that goes round all nodes."""
import os
import random
import socket
import subprocess
import sys
import threading
import time

import grpc

import calls
import stubs

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "helm"))
# pylint: disable=wrong-import-position
from cluster_case import ClusterCase, main
from lock_traffic import Traffic
from region import BIN, clean_environment, wait_for

STEP_S = 2.0     # the longest time without a grant that a caller may see; some 0.1 s on a quiet machine
NOTICED_S = 0.7  # after so long the balancer knows that a node stops
DELAY_MS = 1500


class Balancer:
    """One port that leads to one of several, chosen anew for each connection; what is connected stays."""

    def __init__(self, ports):
        self.ports = list(ports)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        try:
            node = socket.create_connection(("127.0.0.1", random.choice(self.ports)), 2)
        except OSError:
            client.close()
            return
        for one in (client, node):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there = threading.Thread(target=self.pass_on, args=(client, node), daemon=True)
        there.start()
        self.pass_on(node, client)
        there.join()
        client.close()
        node.close()

    @staticmethod
    def pass_on(one, other):
        try:
            while True:
                some = one.recv(65536)
                if not some:
                    break
                other.sendall(some)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


class Callers:
    """Each a lockctl of its own."""

    def __init__(self, region):
        self.folder, self.processes = region.root, {}

    def start(self, caller, name, endpoints):
        with open(self.path(caller), "w", encoding="utf-8") as out:
            self.processes[caller] = subprocess.Popen(
                [os.path.join(BIN, "lockctl"), "--endpoints", endpoints, "ping", "rolling/" + name,
                 "-i", "10ms", "--ttl", "60s", "-w", "5s", "-o", "json"], stdout=out, stderr=out,
                env=clean_environment())

    def path(self, caller):
        return os.path.join(self.folder, "ping-" + caller)

    def stop(self):
        traffic = Traffic()
        for process in self.processes.values():
            process.terminate()
        for caller, process in self.processes.items():
            process.wait(60)
            with open(self.path(caller), encoding="utf-8") as file:
                traffic.read(caller, file.read())
        return traffic


class Round(threading.Thread):
    """A program with nothing but the protos and gRPC: round_robin sends each call to the next node.
    A call that finds nobody is made again after 50 ms with its request id, as docs/API.md says."""

    def __init__(self, region):
        super().__init__(daemon=True)
        self.channel = grpc.insecure_channel(
            "ipv4:" + region.addresses(), calls.OPTIONS + (("grpc.lb_policy_name", "round_robin"),))
        self.locks = stubs.lock_grpc.LockServiceStub(self.channel)
        self.stopping, self.holds = threading.Event(), []

    def repeated(self, call, request):
        while True:
            try:
                return call(request, timeout=5)
            except grpc.RpcError as error:
                if error.code() not in calls.PASSING:
                    raise
                time.sleep(0.05)

    def run(self):
        while not self.stopping.wait(0.01):
            owner = "round-%d" % len(self.holds)
            answer = self.repeated(self.locks.Acquire, calls.request(
                "rolling/round", owner, request_id=owner + "-a", ttl_ms=60000))
            granted = time.time()
            self.repeated(self.locks.Release, stubs.lock_pb2.ReleaseRequest(
                name="rolling/round", owner=owner, hold_id=answer.hold_id, request_id=owner + "-r"))
            self.holds.append(("rolling/round", answer.token, granted, granted))

    def stop(self, traffic):
        self.stopping.set()
        self.join(60)
        self.channel.close()
        traffic.holds += self.holds
        traffic.grants["round"] = [hold[2] for hold in self.holds]


class Rolling(ClusterCase):
    N_NODES = 3
    SETTINGS = {"stop_delay_ms": DELAY_MS}

    def setUp(self):
        self.balancer = Balancer(node.grpc_port for node in self.region.nodes)
        self.addCleanup(self.balancer.close)
        self.callers = Callers(self.region)
        self.addCleanup(lambda: [one.kill() for one in self.callers.processes.values()])

    def is_ready(self, node):
        try:
            return node.http("/actuator/health/readiness")[0] == 200
        except OSError:
            return False

    def roll(self, node):
        """Stops a node and starts it again; returns from when to when."""
        begin = time.time()
        leaves = threading.Timer(NOTICED_S, self.balancer.ports.remove, (node.grpc_port,))
        leaves.start()
        self.assertEqual(node.stop(), 0)
        leaves.join()
        node.start()
        wait_for("%s is ready" % node.name, lambda: self.is_ready(node), 60)
        self.balancer.ports.append(node.grpc_port)
        time.sleep(1)
        return begin, time.time()

    def test_nobody_is_without_the_region_for_long(self):
        for i in range(3):
            self.callers.start("balanced-%d" % i, "own-%d" % i, self.balancer.address)
        for i in range(2):
            self.callers.start("shared-%d" % i, "shared", self.balancer.address)
        self.callers.start("all", "all", self.region.addresses())
        for node in self.region.nodes:
            self.callers.start("of-" + node.name, "of-" + node.name, node.address)
        around = Round(self.region)
        around.start()
        time.sleep(1)
        steps = [(node.name, self.region.leader().name, *self.roll(node))
                 for node in reversed(self.region.nodes)]
        traffic = self.callers.stop()
        around.stop(traffic)
        self.assertEqual(traffic.judge(), [])
        for name, leader, begin, end in steps:
            others = set(traffic.grants) - {"of-" + name}
            seconds, caller, since = traffic.longest(begin, end, others)
            print("%s%s stops: at most %.3f s without a grant (%s, %.3f s after SIGTERM)" % (
                name, ", which leads," if name == leader else "", seconds, caller, since - begin))
            print("    %s" % ", ".join("%s %.2f" % (one, traffic.longest(begin, end, (one,))[0])
                                       for one in sorted(others)))
            self.assertLess(seconds, STEP_S, (name, caller, since - begin, traffic.unanswered))
        self.assertEqual(traffic.unanswered, [row for row in traffic.unanswered if " of of-" in row[1]])


if __name__ == "__main__":
    main()
