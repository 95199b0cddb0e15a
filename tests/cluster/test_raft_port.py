#!/usr/bin/python3
"""Three nodes with a port of their own for each other: what is served there, and that the region
does not need it anywhere else."""

import json
import os

import grpc

import stubs
from calls import channel, refusal_of, request, wait_for_answer, wait_for_refusal
from certs import Certs
from cluster_case import ClusterCase, main, needs_processes
from region import Region, wait_for

UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


class OwnPort(ClusterCase):
    certs, settings = None, {}

    @classmethod
    def setUpClass(cls):
        cls.region = Region(3, start=False, certs=cls.certs, settings=cls.settings)
        cls.region.give_raft_ports()
        cls.region.start()
        cls.wait_serving()

    def setUp(self):
        self.region.start()
        self.region.wait_serving()
        self.leader = self.region.leader()
        self.one, self.two = self.region.followers()

    @staticmethod
    def at_raft(node):
        return "127.0.0.1:%d" % node.raft_port

    def open(self, address, credentials=None, name=None):
        opened = channel(address, credentials, name)
        self.addCleanup(opened.close)
        return opened

    def links_are_up(self, node):
        try:
            return all(other.metric("lockmgr_peer_link_up", peer=node.name) == 1 and
                       node.metric("lockmgr_peer_link_up", peer=other.name) == 1
                       for other in self.region.nodes if other is not node)
        except OSError:
            return False  # a health actor is not there yet


class Plain(OwnPort):
    def link(self, address, node):
        """What a link that says its hello there is answered with, as a Refusal."""
        service = stubs.peer_grpc.RaftServiceStub(self.open(address))
        hello = stubs.peer_pb2.LinkHello(**{
            "version": 1, "region": "test", "from": self.two.name, "to": node.name,
            "cluster_id": node.status().header.cluster_id})
        frames = [stubs.peer_pb2.LinkRequest(hello=hello)]
        return wait_for_refusal(lambda: list(service.Link(iter(frames), timeout=5)))

    def forward(self, address):
        wanted = stubs.peer_pb2.ForwardRequest(**{
            "cluster_id": self.leader.status().header.cluster_id, "from": self.one.name,
            "forward_id": 1})
        wanted.call.acquire.CopyFrom(request("forwarded", "a", request_id="r"))
        service = stubs.peer_grpc.RaftServiceStub(self.open(address))
        return service.Forward(wanted, timeout=5)

    def test_calls_are_passed_on_and_a_leader_may_die(self):
        held = self.assert_granted(self.one.client.acquire("kept", "a", ttl_ms=300000))
        self.assertEqual(held.header.node, self.leader.name)
        self.leader.kill()
        rest = [self.one, self.two]
        self.region.wait_serving(nodes=rest)
        for node in rest:
            self.assertEqual([h.token for h in node.client.get("kept").holders], [held.token])
            self.assert_granted(node.client.acquire("after/" + node.name, "a"))
        self.leader.start()
        self.region.wait_serving()
        wait_for("%s is linked again" % self.leader.name,
                 lambda: self.links_are_up(self.leader), 30)
        self.region.wait_equal_hashes()

    @needs_processes
    def test_a_new_frontend_has_the_port_again(self):
        before = self.one.actor_pids()["frontend"]
        self.one.kill_actor("frontend")
        wait_for("another frontend", lambda: self.one.actor_pids().get("frontend", before) != before)
        self.region.wait_serving()
        wait_for("%s is linked again" % self.one.name, lambda: self.links_are_up(self.one), 30)

    def test_nodes_are_heard_on_their_port_alone(self):
        passed_on = wait_for_answer(lambda: self.forward(self.at_raft(self.leader)))
        self.assertEqual(passed_on.answer.acquire.header.node, self.leader.name)
        refusal = wait_for_refusal(lambda: self.forward(self.leader.address))
        self.assertEqual((refusal.code, refusal.reason), (UNIMPLEMENTED, "WRONG_PORT"), refusal)
        refusal = self.link(self.leader.address, self.leader)
        self.assertEqual((refusal.code, refusal.reason), (UNIMPLEMENTED, "WRONG_PORT"), refusal)
        wait_for("the leader has its links", lambda: self.links_are_up(self.leader), 10)

    def test_clients_are_refused_there(self):
        opened = self.open(self.at_raft(self.leader))
        for path in ("/lockmgr.v1.LockService/Get", "/lockmgr.v1.LockService/KeepAliveStream",
                     "/lockmgr.v1.AdminService/GetStatus",
                     "/lockmgr.region.v1.RegionService/Hello",
                     "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
            refusal = wait_for_refusal(lambda path=path: opened.unary_unary(path)(b"", timeout=5))
            self.assertEqual((refusal.code, refusal.reason), (UNIMPLEMENTED, "WRONG_PORT"), path)
        refusal = wait_for_refusal(lambda: opened.unary_unary("/lockmgr.v1.LockService/Nonsense")(
            b"", timeout=5))
        self.assertEqual((refusal.code, refusal.reason), (UNIMPLEMENTED, None), refusal)
        healthy = wait_for_answer(
            lambda: opened.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=5))
        self.assertEqual(healthy, b"\x08\x01")

    def test_the_status_file_names_it(self):
        with open(os.path.join(self.one.run_dir, "status"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["ports"], {
                "grpc": self.one.grpc_port, "region": self.one.region_port,
                "raft": self.one.raft_port, "actuator": self.one.actuator_port})


class WithCertificates(OwnPort):
    """Clients need none, but the port of the nodes is not theirs."""
    settings = {"tls": {"client_auth": "none"}}

    @classmethod
    def setUpClass(cls):
        cls.certs = Certs()
        cls.addClassCleanup(cls.certs.close)
        super().setUpClass()

    def test_who_shows_no_certificate_does_not_get_in(self):
        held = self.assert_granted(self.one.client.acquire("kept", "a"))
        self.assertEqual(held.header.node, self.leader.name)
        service = stubs.peer_grpc.RaftServiceStub(
            self.open(self.at_raft(self.leader), self.certs.credentials(), self.leader.name))
        refusal = refusal_of(lambda: service.Forward(stubs.peer_pb2.ForwardRequest(), timeout=3))
        self.assertIn(refusal.code, (grpc.StatusCode.UNAVAILABLE,
                                     grpc.StatusCode.DEADLINE_EXCEEDED), refusal)
        service = stubs.peer_grpc.RaftServiceStub(self.open(
            self.at_raft(self.leader), self.certs.credentials("tester"), self.leader.name))
        wanted = stubs.peer_pb2.ForwardRequest(**{"from": self.one.name})
        wanted.call.get.name = "kept"
        refusal = wait_for_refusal(lambda: service.Forward(wanted, timeout=5))
        self.assertEqual((refusal.code, refusal.reason),
                         (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"), refusal)


if __name__ == "__main__":
    main()
