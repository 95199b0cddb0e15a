"""Regions in plaintext whose nodes share a key: they work, and nobody without the key is one of them."""

import os
import subprocess
import tempfile
import unittest

import grpc

import stubs
from calls import channel, wait_for_refusal
from cluster_case import ClusterCase, main
from region import BIN, Region, clean_environment, merged, wait_for, write_config

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
KEY = "the key of this test, 32 bytes and more"


def make_key(text):
    handle, path = tempfile.mkstemp(prefix="lmkey", dir="/tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    return path


class Keys(ClusterCase):
    """Three nodes of one region."""

    @classmethod
    def setUpClass(cls):
        cls.key = make_key(KEY)
        cls.region = Region(3, start=False, settings={"peer_auth": None, "peer_key": cls.key})
        cls.region.start()
        cls.wait_serving()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        os.unlink(cls.key)

    def test_calls_are_passed_on_and_survive_the_loss_of_the_leader(self):
        for node in self.region.nodes:
            grant = self.assert_granted(node.client.acquire("keys/" + node.name, "me"))
            node.client.release("keys/" + node.name, "me", grant.hold_id)
        leader = self.region.leader()
        grant = self.assert_granted(leader.client.acquire("keys/kept", "me", ttl_ms=60000))
        leader.kill()
        others = [node for node in self.region.nodes if node is not leader]
        self.region.leader(among=others)
        leader.start()
        self.region.wait_serving()
        for node in self.region.nodes:
            self.assertEqual(node.client.get("keys/kept").holders[0].token, grant.token)
            self.assertNotIn("peer_auth is", node.log())
            self.assertNotIn(KEY, node.log())

    def test_a_forged_message_of_raft_is_refused_and_counted(self):
        leader = self.region.leader()
        victim = next(node for node in self.region.nodes if node is not leader)
        name, reason = "lockmgr_peer_links_refused_total", {"reason": "unauthenticated"}
        counted = victim.metric(name, **reason) or 0
        service = stubs.peer_grpc.RaftServiceStub(channel(victim.address))
        cluster = victim.status().header.cluster_id
        forged = stubs.peer_pb2.Frame(version=1, cluster_id=cluster)
        forged.request_vote.term = 1000000
        for nonce, proof in ((b"", b""), (b"n" * 32, b""), (b"n" * 32, b"p" * 32)):
            hello = stubs.peer_pb2.LinkHello(version=1, region="test", to=victim.name,
                                             cluster_id=cluster, nonce=nonce)
            setattr(hello, "from", leader.name)
            said = [stubs.peer_pb2.LinkRequest(hello=hello)]
            if proof:
                said.append(stubs.peer_pb2.LinkRequest(proof=proof))
            said.append(stubs.peer_pb2.LinkRequest(frame=forged.SerializeToString()))
            refusal = wait_for_refusal(lambda: list(service.Link(iter(said), timeout=5)))
            self.assertEqual(refusal.code, UNAUTHENTICATED, refusal)
        wait_for("all are counted", 
                 lambda: (victim.metric(name, **reason) or 0) >= counted + 3, 10)
        self.assertIn("audit refused reason=unauthenticated method=Link", victim.log())
        for node in self.region.nodes:
            self.assertLess(node.status().header.term, 1000000)

    def test_a_client_cannot_pass_a_call_on_in_the_name_of_a_node(self):
        leader = self.region.leader()
        other = next(node for node in self.region.nodes if node is not leader)
        service = stubs.peer_grpc.RaftServiceStub(channel(leader.address))
        for seal in (b"", b"s" * 56):
            request = stubs.peer_pb2.ForwardRequest(
                cluster_id=leader.status().header.cluster_id, seal=seal)
            setattr(request, "from", other.name)
            request.call.get.name = "keys/any"
            refusal = wait_for_refusal(lambda: service.Forward(request, timeout=5))
            self.assertEqual(refusal.reason, "UNAUTHENTICATED", refusal)


class Strangers(ClusterCase):
    def setUp(self):
        self.keys = [make_key(KEY), make_key(KEY[::-1])]

    def tearDown(self):
        for key in self.keys:
            os.unlink(key)

    def regions(self, *rows):
        """Regions of one node that know each other: (name, settings, settings of region)."""
        regions = []
        for name, settings, _ in rows:
            regions.append(Region(1, region_id=name, start=False,
                                  settings={"peer_auth": None, **settings}))
            self.addCleanup(regions[-1].close)
        for one, (_, _, more) in zip(regions, rows):
            one.settings["region"] = {"peers": [
                {"region_id": other.region_id, "host": "127.0.0.1",
                 "port": other.node(1).region_port} for other in regions if other is not one],
                **more}
            one.start()
        for one in regions:
            one.wait_serving()
        return regions

    @staticmethod
    def reached(one):
        status = one.node(1).status()
        return {r.region for r in status.regions if r.reachable} if status else None

    def test_regions_meet_that_share_a_key_and_no_others(self):
        east, west, south = self.regions(*(
            (name, {"peer_key": self.keys[key]}, {})
            for name, key in (("east", 0), ("west", 0), ("south", 1))))
        reached = self.reached
        wait_for("east and west meet", lambda: reached(east) == {"west"} and
                 reached(west) == {"east"}, 30)
        self.assertEqual(reached(south), set())
        self.assertGreater(wait_for("it is counted", lambda: south.node(1).metric(
            "lockmgr_peer_links_refused_total", reason="unauthenticated"), 10), 0)


    def test_regions_meet_whose_nodes_have_other_keys(self):
        """By a key of regions, and by trust; neither understands the other."""
        keys = [{"peer_key": self.keys[i]} for i in (0, 1)]
        shared = make_key("the key of the regions, 32 bytes and more")
        self.addCleanup(os.unlink, shared)
        by_key = {"peer_key": shared}
        east, west, other = self.regions(("east", keys[0], by_key), ("west", keys[1], by_key),
                                         ("other", keys[0], {"peer_auth": "trusted"}))
        wait_for("east and west meet", lambda: self.reached(east) == {"west"} and
                 self.reached(west) == {"east"}, 30)
        self.assertEqual(self.reached(other), set())
        self.assertIn("region.peer_auth is", other.node(1).log())
        self.assertNotIn("region.peer_auth is", east.node(1).log())
        for one in (east, west, other):
            one.close()
        one, two = self.regions(("one", keys[0], {"peer_auth": "trusted"}),
                                ("two", keys[1], {"peer_auth": "trusted"}))
        wait_for("one and two meet", lambda: self.reached(one) == {"two"} and
                 self.reached(two) == {"one"}, 30)


class Configuration(unittest.TestCase):
    def check(self, text, mode=0o600, **settings):
        key = make_key(text)
        self.addCleanup(os.unlink, key)
        os.chmod(key, mode)
        with Region(1, start=False) as region:
            node = region.node(1)
            write_config(node.config_path, merged(node.config(), {
                "peer_auth": None, "peer_key": key, **settings}))
            ran = subprocess.run([os.path.join(BIN, "lockmgrd"), "--config", node.config_path,
                                  "--check"], capture_output=True, text=True, check=False,
                                 env=clean_environment())
        self.assertNotIn(text, ran.stderr)
        return ran.returncode, ran.stderr

    def test_what_a_file_of_keys_may_be(self):
        self.assertEqual(self.check(KEY), (0, ""))
        self.assertEqual(self.check("# new and old\n%s\n%s" % (KEY, KEY[::-1])), (0, ""))
        for text, mode, settings, words in (
                ("k" * 31, 0o600, {}, "fewer than 32"), (KEY, 0o644, {}, "others may read"),
                ("# none", 0o600, {}, "has no key"),
                (KEY, 0o600, {"peer_auth": "trusted"}, "must not be there with peer_key"),
                (KEY, 0o600, {"tls": {"ca": "/a", "cert": "/b", "key": "/c"}},
                 "peer_key must not be there with tls"),
                (KEY, 0o600, {"peer_auth": "trusted", "peer_key": None, "region": {
                    "peer_auth": "trusted"}}, "region.peer_auth needs a peer_key"),
                (KEY, 0o600, {"region": {"peer_auth": "trusted", "peer_key": "/nowhere"}},
                 "region.peer_auth must not be there with region.peer_key"),
                (KEY, 0o600, {"region": {"peer_key": "/nowhere"}},
                 "region.peer_key: /nowhere cannot be read"),
                (KEY, 0o600, {"region": {"peer_auth": "key"}}, "region.peer_auth must be"),
                (KEY, 0o600, {"peer_key": None, "region": {"peer_key": "/nowhere"},
                              "tls": {"ca": "/a", "cert": "/b", "key": "/c"}},
                 "region.peer_key must not be there with tls")):
            code, said = self.check(text, mode, **settings)
            self.assertEqual(code, 78, said)
            self.assertIn(words, said)


if __name__ == "__main__":
    main()
