#!/usr/bin/python3
"""Nodes as an orchestrator runs them: more of them than the region was formed of, volumes that come
back empty."""
import os
import shutil

import grpc

from calls import refusal_of
from cluster_case import ClusterCase, main
from region import Node, Region, wait_for

SURPLUS, UNFORMED = 6, 1


class Surplus(ClusterCase):
    """A region of three to which the configuration adds two more nodes."""

    def setUp(self):
        self.region = Region(3, region_id="pods", start=False)
        key = os.path.join(self.region.root, "peer.key")
        with open(key, "w", encoding="utf-8") as file:
            file.write("p" * 64 + "\n")
        os.chmod(key, 0o600)
        self.region.settings = {
            "peer_auth": None, "peer_key": key,
            "actuator": {"exposure": {"include": ["health", "prometheus", "raft"]}}}
        self.region.start()
        self.region.wait_serving()

    def tearDown(self):
        self.region.close()

    def grow(self):
        """As a rolling update does it: the new ones first, then the others one by one."""
        for number in (4, 5):
            self.region.nodes.append(Node(self.region, number))
        new, old = self.region.nodes[3:], self.region.nodes[:3]
        for node in new:
            node.start()
        for node in reversed(old):
            self.assertEqual(node.stop(), 0)
            node.start()
            self.region.wait_serving(nodes=old)
        return old, new

    def test_surplus_nodes_say_so_wait_and_forward(self):
        held = self.assert_granted(self.region.node(1).client.acquire("kept", "a", ttl_ms=120000))
        cluster_id = self.region.node(1).status().header.cluster_id
        old, new = self.grow()
        for node in new:
            wait_for("%s knows that it is surplus" % node.name,
                     lambda node=node: node.status() and node.status().role == SURPLUS, 60)
            wait_for("%s is ready" % node.name,
                     lambda node=node: node.http("/actuator/health/readiness")[0] == 200, 60)
        self.region.wait_serving(nodes=new)
        for node in new:
            self.look_at(node, cluster_id)
        four, five = new
        # Calls of all kinds pass through to the leader.
        self.assertEqual([(h.owner, h.token) for h in four.client.get("kept").holders],
                         [("a", held.token)])
        mine = self.assert_granted(four.client.acquire("new", "b"))
        self.assertGreater(mine.token, held.token)
        again = five.client.acquire("new", "c")
        self.assertFalse(again.token, again)
        five.client.release("new", "b", mine.hold_id)
        self.assert_granted(five.client.acquire("new", "c"))
        # A leader that goes, and one vote less: three voters decide, not five nodes.
        leader = self.region.leader(among=old)
        leader.kill()
        wait_for("the new leader is found", lambda: self.try_acquire(four, "after"), 30)
        leader.start()
        self.region.wait_serving(nodes=old)
        # Two voters away: what is left, surplus nodes among them, is no majority.
        for node in old[:2]:
            node.kill()
        self.assertIsNone(self.try_acquire(four, "nobody"))
        for node in old[:2]:
            node.start()
        self.region.wait_serving(nodes=old)
        for node in new:
            self.assertEqual(os.listdir(node.data_dir), ["lock"], "nothing is stored there")
            self.assertEqual(node.stop(), 0)
        for node in old:
            self.assertIn(node.status().role, (2, 4))

    @staticmethod
    def try_acquire(node, name):
        try:
            answer = node.client.acquire(name, "d", timeout=2)
        except grpc.RpcError:
            return None
        return answer if answer.token else None

    def look_at(self, node, cluster_id):
        status = node.status()
        self.assertIn("formed of n1, n2, n3, without this node", status.problem)
        self.assertEqual(status.header.cluster_id, cluster_id)
        self.assertEqual([member.name for member in status.members], ["n1", "n2", "n3"])
        self.assertIn(status.leader, ("n1", "n2", "n3"))
        self.assertIn("it is surplus, has no vote", node.log())
        code, page = node.json("/actuator/health")
        self.assertEqual((code, page["status"]), (200, "UP"), page)
        details = page["components"]["raft"]["details"]
        self.assertEqual((details["role"], details["clusterId"], details["voters"]),
                         ("surplus", cluster_id, 3), page)
        self.assertEqual(node.json("/actuator/raft")[1]["voters"], ["n1", "n2", "n3"])
        self.assertEqual(node.metric("lockmgr_raft_surplus"), 1)
        for other in self.region.nodes[:3]:
            self.assertEqual(other.metric("lockmgr_raft_surplus"), 0)
            self.assertIn("peers lists %s, but the region was formed without it" % node.name,
                          other.log())

    def test_fewer_nodes_than_voters_are_refused_by_name(self):
        one = self.region.node(1)
        self.assertEqual(one.stop(), 0)
        three = self.region.nodes.pop()
        one.start()
        self.assertEqual(one.wait_exit(), 78)
        self.assertIn("n3 has a vote, and peers does not list it", one.log())
        self.region.nodes.append(three)
        one.start()
        self.region.wait_serving()


class EmptyVolumes(ClusterCase):
    """S18, as volumes are lost."""

    def setUp(self):
        self.region = Region(3, region_id="pods", start=False)

    def tearDown(self):
        self.region.close()

    def test_s18_three_nodes_start_empty_at_once_and_are_one_region(self):
        self.region.start()
        self.region.wait_serving()
        self.assertEqual(len({node.status().header.cluster_id for node in self.region.nodes}), 1)

    def test_s18_an_emptied_volume_beside_a_living_region(self):
        self.region.start()
        self.region.wait_serving()
        held = self.assert_granted(self.region.node(1).client.acquire("kept", "a", ttl_ms=120000))
        cluster_id = self.region.node(1).status().header.cluster_id
        lost = self.region.node(3)
        lost.kill()
        saved = lost.data_dir + ".saved"
        os.rename(lost.data_dir, saved)
        os.makedirs(lost.data_dir)
        # Everybody starts at once: the empty one meets others that are not up yet.
        for node in self.region.nodes[:2]:
            node.kill()
        self.region.start()
        self.region.wait_serving(nodes=self.region.nodes[:2])
        wait_for("it says what it lacks",
                 lambda: lost.status() and "its data is missing" in lost.status().problem, 60)
        self.assertEqual(lost.status().role, UNFORMED)
        self.assertEqual(lost.http("/actuator/health/readiness")[0], 503)
        self.assertEqual(lost.http("/actuator/health")[0], 200, "a restart cures nothing")
        self.region.wait_serving(nodes=[lost])
        self.assertEqual(lost.status().header.cluster_id, cluster_id)
        self.assertEqual([h.token for h in lost.client.get("kept").holders], [held.token])
        self.assertEqual(os.listdir(lost.data_dir), ["lock"])
        # One more goes: the empty node is no majority with the other.
        two = self.region.node(2)
        two.kill()
        refusal = refusal_of(lambda: lost.client.acquire("more", "b", timeout=3))
        self.assertIn(refusal.code, (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED))
        two.start()
        # Its volume comes back, and with it its vote.
        lost.kill()
        shutil.rmtree(lost.data_dir)
        os.rename(saved, lost.data_dir)
        lost.start()
        self.region.wait_serving()
        self.region.wait_equal_hashes()


if __name__ == "__main__":
    main()
