"""Certificates that do not count - expired, not valid yet, of another authority, for another use,
of another name - on every kind of link and in both directions; and an authority that is changed
while the region serves."""

import os
import socket
import ssl
import subprocess
import threading

import grpc

import stubs
from calls import Client, channel, refusal_of, wait_for_answer, wait_for_refusal
from certs import Certs, from_soon, make_odd
from cluster_case import ClusterCase, main
from region import BIN, Region, clean_environment, wait_for

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
NO_CONNECTION = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

EXPIRED, EARLY = ("20200101", "20210101"), ("20900101", "20910101")


def make_all(certs, strangers, names, other_usage):
    """Files of certificates that bear these names and do not count all the same."""
    make_odd(certs, "expired", names, days=EXPIRED)
    make_odd(certs, "early", names, days=EARLY)
    make_odd(certs, "strange", names, signer=strangers)
    make_odd(certs, "useless", names, usage=other_usage)
    return ("expired", "early", "strange", "useless")


class Callers(ClusterCase):
    """Whoever calls a node: as a client, as a node of its region, as another region."""

    @classmethod
    def setUpClass(cls):
        cls.certs, cls.strangers = Certs(), Certs()
        # With every name that would help.
        cls.bad = make_all(cls.certs, cls.strangers, ("n2", "west", "tester"), "serverAuth")
        make_odd(cls.certs, "good", ("n2", "west", "tester"))
        make_odd(cls.certs, "misnamed", ("n2.example", "west.example", "N2", "localhost"))
        cls.region = Region(3, certs=cls.certs, settings={"region": {"peers": [
            {"region_id": "west", "host": "127.0.0.1", "port": 9}]}}, start=False)
        cls.region.start()
        cls.wait_serving()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.certs.close()
        cls.strangers.close()

    def open(self, name, port):
        opened = channel("127.0.0.1:%d" % port, self.certs.credentials(name))
        self.addCleanup(opened.close)
        return opened

    def calls(self, name):
        """What it means to be let in, by kind of link."""
        node = self.region.node(1)
        locks = stubs.lock_grpc.LockServiceStub(self.open(name, node.grpc_port))
        raft = stubs.peer_grpc.RaftServiceStub(self.open(name, node.grpc_port))
        regions = stubs.region_grpc.RegionServiceStub(self.open(name, node.region_port))
        hello = stubs.peer_pb2.LinkRequest(hello=stubs.peer_pb2.LinkHello(
            version=1, region="test", to="n1", cluster_id=node.status().header.cluster_id,
            **{"from": "n2"}))
        greeting = stubs.region_pb2.HelloRequest(
            **{"from": {"region": "west", "cluster_id": "w" * 32, "protocol": 1, "node": "w1"}})
        return {"client": lambda: locks.Get(stubs.lock_pb2.GetRequest(name="a"), timeout=3),
                "node": lambda: next(raft.Link(iter([hello]), timeout=3)),
                "region": lambda: regions.Hello(greeting, timeout=3)}

    def test_a_good_one_is_let_in_everywhere(self):
        for kind, call in self.calls("good").items():
            with self.subTest(kind=kind):
                self.assertTrue(wait_for_answer(call))

    def test_those_that_do_not_count_get_no_connection(self):
        for name in self.bad:
            for kind, call in self.calls(name).items():
                with self.subTest(name=name, kind=kind):
                    refusal = refusal_of(call)
                    self.assertIn(refusal.code, NO_CONNECTION, refusal)
                    self.assertIsNone(refusal.reason, "the node itself answered: %s" % refusal)

    def test_one_of_another_name_speaks_for_nobody(self):
        calls = self.calls("misnamed")
        wait_for_answer(calls["client"])
        for kind in ("node", "region"):
            with self.subTest(kind=kind):
                self.assertEqual(wait_for_refusal(calls[kind]).code, UNAUTHENTICATED)


class Impostor:
    """A server that shows a certificate and notes whether a caller went on to speak with it."""

    def __init__(self, port):
        self.port, self._context, self.heard = port, None, []
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._serve, daemon=True).start()

    def show(self, certs, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certs.path(name + ".crt"), certs.path(name + ".key"))
        context.set_alpn_protocols(["h2"])
        self._context, self.heard = context, []

    def _serve(self):
        while True:
            try:
                opened, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._listen, args=(opened, self._context, self.heard),
                             daemon=True).start()

    @staticmethod
    def _listen(opened, context, heard):
        opened.settimeout(5)
        try:
            with context.wrap_socket(opened, server_side=True) as wrapped:
                heard.append(wrapped.recv(24).startswith(b"PRI * HTTP/2"))
        except (OSError, AttributeError):  # nothing shown yet
            heard.append(False)

    def close(self):
        self._listener.close()


class Called(ClusterCase):
    """Whomever a node or a client calls: another node, another region, a node."""

    @classmethod
    def setUpClass(cls):
        cls.certs, cls.strangers = Certs(), Certs()
        names = ("n2", "west", "localhost", "127.0.0.1")
        cls.bad = make_all(cls.certs, cls.strangers, names, "clientAuth")
        make_odd(cls.certs, "good", names)
        make_odd(cls.certs, "misnamed", ("n3", "east", "n2.example", "west.example"))
        cls.bad += ("misnamed",)
        cls.region = Region(1, certs=cls.certs, start=False)
        cls.node = cls.region.node(1)
        cls.impostors = {kind: Impostor(cls.region.ports.take()) for kind in ("node", "region")}
        cls.region.settings = {
            "peers": [{"name": "n1", "host": "127.0.0.1", "grpc_port": cls.node.grpc_port},
                      {"name": "n2", "host": "127.0.0.1",
                       "grpc_port": cls.impostors["node"].port}],
            "region": {"peers": [{"region_id": "west", "host": "127.0.0.1",
                                  "port": cls.impostors["region"].port}]}}
        cls.region.start()  # and never forms, for there is no n2

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for impostor in cls.impostors.values():
            impostor.close()
        cls.certs.close()
        cls.strangers.close()

    def test_a_node_speaks_with_nobody_whose_certificate_does_not_count(self):
        for name in (*self.bad, "good"):
            for impostor in self.impostors.values():
                impostor.show(self.certs, name)
            for kind, impostor in self.impostors.items():
                with self.subTest(name=name, kind=kind):
                    if name == "good":
                        wait_for("it goes on", lambda: True in impostor.heard, 20)
                        continue
                    wait_for("two attempts", lambda: len(impostor.heard) >= 2, 20)
                    self.assertNotIn(True, impostor.heard)

    def test_neither_does_a_client(self):
        impostor = Impostor(self.region.ports.take())
        self.addCleanup(impostor.close)
        for name in (*self.bad, "good"):
            impostor.show(self.certs, name)
            patience = "5s" if name == "good" else "1s"
            ran = subprocess.run(
                [os.path.join(BIN, "lockctl"), "--endpoints", "127.0.0.1:%d" % impostor.port,
                 "--cacert", self.certs.path("ca.crt"), "--timeout", patience, "get", "a"],
                capture_output=True, text=True, check=False, env=clean_environment())
            self.assertEqual(ran.returncode, 3, ran.stderr)
            wait_for("an attempt", lambda: impostor.heard, 10)
            if name == "good":
                wait_for("it goes on", lambda: True in impostor.heard, 10)
            else:
                self.assertNotIn(True, impostor.heard, name)


class Change(ClusterCase):
    """The authority of a region and its clients is replaced, all its certificates too."""

    @classmethod
    def setUpClass(cls):
        cls.certs, cls.next = Certs(), Certs()
        cls.region = Region(3, certs=cls.certs)
        cls.wait_serving()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.certs.close()
        cls.next.close()

    def put(self, file, content):
        with open(self.certs.path(file + ".new"), "wb") as new:
            new.write(content)
        os.chmod(self.certs.path(file + ".new"), 0o600)
        os.replace(self.certs.path(file + ".new"), self.certs.path(file))

    def read_again(self, what):
        """Makes the change; returns when all nodes have seen it."""
        counts = [node.log().count("are read again") for node in self.region.nodes]
        what()
        for node, count in zip(self.region.nodes, counts):
            wait_for("%s has read them" % node.name,
                     lambda: node.log().count("are read again") > count, 10)

    def renew_nodes(self):
        for node in self.region.nodes:
            self.next.make("node", node.name, "test")
            for end in (".key", ".crt"):
                self.put(node.name + end, self.next.read(node.name + end))

    def serves(self, ca, certs):
        """A new client of theirs through every node; calls are passed on."""
        for node in self.region.nodes:
            client = Client(node.address, grpc.ssl_channel_credentials(
                ca, certs.read("tester.key"), certs.read("tester.crt")))
            self.addCleanup(client.close)
            wait_for_answer(lambda: client.get("change/any"))
            grant = self.assert_granted(client.acquire("change/" + node.name, "me"))
            client.release("change/" + node.name, "me", grant.hold_id)

    def test_without_a_restart(self):
        old, new = self.certs.read("ca.crt"), self.next.read("ca.crt")
        pids = {node.name: node.actor_pids() for node in self.region.nodes}
        self.serves(old, self.certs)
        self.read_again(lambda: self.put("ca.crt", old + new))
        for certs in (self.certs, self.next):
            self.serves(old + new, certs)
        self.read_again(self.renew_nodes)
        for certs in (self.certs, self.next):
            self.serves(new, certs)
        self.read_again(lambda: self.put("ca.crt", new))
        self.serves(new, self.next)
        client = Client(self.region.node(1).address, grpc.ssl_channel_credentials(
            new, self.certs.read("tester.key"), self.certs.read("tester.crt")))
        self.addCleanup(client.close)
        refusal = refusal_of(lambda: client.get("change/any", timeout=3))
        self.assertIsNone(refusal.reason, refusal)
        self.assertEqual(pids, {node.name: node.actor_pids() for node in self.region.nodes})

    def test_a_renewed_certificate_whose_time_is_to_come_is_used_when_it_has(self):
        node = self.region.node(1)
        make_odd(self.certs, "soon", [node.name, "test", "localhost", "127.0.0.1"],
                 days=from_soon(6))
        refused = node.log().count("is not valid before")
        read = node.log().count("are read again")
        self.put(node.name + ".key", self.certs.read("soon.key"))
        self.put(node.name + ".crt", self.certs.read("soon.crt"))
        wait_for("it is refused", lambda: node.log().count("is not valid before") == refused + 1, 5)
        self.assertEqual(node.log().count("are read again"), read)
        wait_for("it is used", lambda: node.log().count("are read again") == read + 1, 20)
        self.assertEqual(node.log().count("is not valid before"), refused + 1)


if __name__ == "__main__":
    main()
