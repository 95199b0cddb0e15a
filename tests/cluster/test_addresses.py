#!/usr/bin/python3
"""Nodes that are found by name and come back with other addresses, as pods do. Three of one region
and one of another; each in a network of its own, as another user, with an empty /run."""
import os
import time

import pods
from cluster_case import ClusterCase, main
from region import wait_for

LEADER = 4
WITHIN = 60
SLOW = 4
WEST = "lockmgr.west.svc.cluster.local"
EAST = "lockmgr.east.svc.cluster.local"


class Addresses(ClusterCase):
    world = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = pods.World()
        cls.addClassCleanup(cls.world.close)
        cls.east = cls.world.region("east", 3, region={
            "id": "east", "peers": [{"region_id": "west", "host": WEST, "port": pods.REGION}]})
        cls.west = cls.world.region("west", 1, region={
            "id": "west", "peers": [{"region_id": "east", "host": EAST, "port": pods.REGION}]})
        for pod in cls.east + cls.west:
            pod.start()
        cls.publish()

    def setUp(self):
        self.world.wait_serving(self.east + self.west)

    def run(self, result=None):
        before = self._bad(result)
        super().run(result)
        if self._bad(result) != before:
            self.world.print_logs()

    @classmethod
    def publish(cls):
        """The first address of west is that of nobody; east has one of each of its pods."""
        cls.world.publish(cls.east + cls.west)
        cls.world.names.known[WEST] = [pods.NET + "250", cls.west[0].address]
        cls.world.names.known[EAST] = [pod.address for pod in cls.east]

    def come_back(self, pod):
        before = pod.address
        pod.start()
        self.assertNotEqual(pod.address, before)
        self.publish()

    def links_are_up(self, pod):
        return all(other.metric("lockmgr_peer_link_up", peer=pod.name) == 1 and
                   pod.metric("lockmgr_peer_link_up", peer=other.name) == 1
                   for other in self.east if other is not pod)

    @staticmethod
    def leads(pod):
        status = pod.status()
        return status is not None and status.role == LEADER

    def leader(self):
        return wait_for("a leader", lambda: next(filter(self.leads, self.east), None), WITHIN)

    def regions_are_up(self):
        return all(pod.metric("lockmgr_region_peer_up", region="west") == 1 for pod in self.east) \
            and self.west[0].metric("lockmgr_region_peer_up", region="east") == 1

    def test_pods_come_back_with_other_addresses(self):
        held = self.assert_granted(self.east[0].client.acquire("kept", "a", ttl_ms=300000))
        wait_for("all addresses of a region are tried", self.regions_are_up, WITHIN)
        # A machine is lost, and its pod comes back elsewhere with its volume.
        lost = self.leader()
        lost.vanish()
        begin = time.monotonic()
        others = [pod for pod in self.east if pod is not lost]
        # Its end was not heard of: only that it acknowledges nothing tells the next leader, whose
        # connection to it looks open meanwhile.
        wait_for("%s is missed" % lost.name, lambda: any(
            self.leads(pod) and pod.metric("lockmgr_peer_link_up", peer=lost.name) == 0
            for pod in others), WITHIN)
        self.assertLess(time.monotonic() - begin, 9)
        self.world.wait_serving(others)
        self.come_back(lost)
        self.world.wait_serving([lost], WITHIN)
        wait_for("%s is linked" % lost.name, lambda: self.links_are_up(lost), WITHIN)
        # The others need it now: a voter is away, and calls may have to be passed on to it.
        gone = others[0]
        gone.vanish()
        self.world.wait_serving([lost, others[1]])
        for pod in (lost, others[1]):
            self.assertEqual([h.token for h in pod.client.get("kept").holders], [held.token])
        self.come_back(gone)
        wait_for("%s is linked again" % gone.name, lambda: self.links_are_up(gone), WITHIN)
        # A rolling update: all move, one after the other.
        for pod in reversed(self.east):
            self.assertEqual(pod.stop(), 0)
            self.come_back(pod)
            self.world.wait_serving(self.east)
        self.assertEqual([h.token for h in self.east[2].client.get("kept").holders], [held.token])
        # The other region moves too.
        self.west[0].vanish()
        wait_for("west is missed", lambda: self.east[0].metric(
            "lockmgr_region_peer_up", region="west") == 0, WITHIN)
        self.come_back(self.west[0])
        wait_for("the regions reach each other again", self.regions_are_up, WITHIN)
        for pod in self.east + self.west:
            self.look_at_files(pod)

    def test_a_slow_name_server_is_waited_for(self):
        """Links, calls that are passed on and greetings all need names that take four seconds."""
        self.world.slow_names(SLOW)
        self.addCleanup(self.world.slow_names, 0)
        pod = self.leader()
        self.assertEqual(pod.stop(), 0)
        self.come_back(pod)
        begin = time.monotonic()
        wait_for("%s is linked" % pod.name, lambda: self.links_are_up(pod), WITHIN)
        linked = time.monotonic() - begin
        self.world.wait_serving(self.east)
        served = time.monotonic() - begin
        wait_for("the regions reach each other", self.regions_are_up, WITHIN)
        print("names took %.0f s: linked after %.1f s, served after %.1f s, greeted after %.1f s"
              % (SLOW, linked, served, time.monotonic() - begin))

    def look_at_files(self, pod):
        """What a pod has made: its own, in a volume of which only the group is its."""
        data = os.stat(os.path.join(pod.volume, "node"))
        self.assertEqual((data.st_uid, data.st_mode & 0o777), (pods.NODE_USER, 0o700))
        run_dir = os.stat("/proc/%d/root/run/lockmgr" % pod.process.pid)
        self.assertEqual((run_dir.st_uid, run_dir.st_mode & 0o777), (pods.NODE_USER, 0o700))

    def test_a_volume_of_another_pod_is_refused(self):
        for pod in self.east[1:]:
            self.assertEqual(pod.stop(), 0)
        one, two = self.east[1:]
        one.volume, two.volume = two.volume, one.volume
        for pod, other in ((one, two), (two, one)):
            pod.start()
            self.assertEqual(pod.process.wait(WITHIN), 78)
            self.assertIn("is that of node %s of region east, but this is node %s of region east"
                          % (other.name, pod.name), pod.log())
            pod.unplug()
        one.volume, two.volume = two.volume, one.volume
        for pod in (one, two):
            self.come_back(pod)
        self.world.wait_serving(self.east)


if __name__ == "__main__":
    pods.enter()
    main()
