#!/usr/bin/python3
"""Snapshots in real processes: taken, restored, sent, installed; and all of that while actors and nodes
are killed at each of its steps.

Normally a dozen kills, with LM_TEST_FULL=1 two hundred (LM_KILLS says otherwise). The steps are seen in
the data directories (datadir.py).
"""

import collections
import os
import signal
import threading
import time

import datadir
import fill
from cluster_case import ClusterCase, main, needs_processes
from region import FULL, Trouble, wait_for
from story import Story

KILLS = int(os.environ.get("LM_KILLS") or (200 if FULL else 12))
LOCKS = 20000
DISK_MOST = 200 << 20
IMAGES_MOST = 3

SETTINGS = {"lock": {"min_timeout_ms": 300, "max_timeout_ms": 86400000},
            "limits": {"record_ring_size": 4000},
            "raft": {"snapshot_bytes": 262144, "trailing_entries": 64}}


def has_trimmed(node, index, settings):
    """Whether what follows that entry is no longer in a node's log, so that who ends there needs an
    image. (So many snapshots say nothing: how many entries lie between two depends on the load.)"""
    return datadir.newest_snapshot(node.data_dir) - settings["raft"]["trailing_entries"] > index


class Plain(ClusterCase):
    N_NODES = 3
    SETTINGS = SETTINGS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fill = fill.Fill(cls.region, LOCKS)
        cls.fill.take()

    def setUp(self):
        self.watch = datadir.Watch(self.region.nodes)
        self.addCleanup(self.watch.stop)

    def all_hold(self, seconds=30):
        def holds(node):
            status = node.status()
            return status.holds if status else 0
        for node in self.region.nodes:
            wait_for("%s has %d holds" % (node.name, LOCKS),
                     lambda node=node: holds(node) == LOCKS, seconds, 0.1)
        self.region.wait_equal_hashes(seconds)

    def renew_until(self, what, is_so):
        process = self.fill.start_renewing(10000000)
        try:
            wait_for(what, is_so, 60)
        finally:
            fill.stop(process)

    def make_snapshots(self, node):
        """Renews until a node has completed two more of them."""
        begin = len(self.watch.snapshots(node))
        self.renew_until("two more snapshots of %s" % node.name,
                         lambda: len(self.watch.snapshots(node)) >= begin + 2)

    def test_the_disk_stays_bounded(self):
        use = datadir.DiskUse(self.region.nodes)
        self.fill.renew(60000)
        use.stop()
        for node in self.region.nodes:
            snapshots = self.watch.snapshots(node)
            print("%s: %d snapshots, the last of %d bytes, at most %d bytes on disk"
                  % (node.name, len(snapshots), datadir.newest_image(node.data_dir)[1],
                     use.most(node)))
            self.assertGreaterEqual(len(snapshots), 2)
            self.assertLess(use.most(node), DISK_MOST)
            self.assertLessEqual(len(datadir.matching(node.data_dir, datadir.IMAGE)), IMAGES_MOST)
        self.all_hold()

    def test_all_nodes_start_from_their_snapshots(self):
        self.make_snapshots(self.region.node(1))
        self.region.kill_all()
        self.region.start()
        self.region.wait_serving()
        self.all_hold()
        self.fill.renew(5000)

    def test_a_node_that_was_away_gets_the_snapshot_of_its_leader(self):
        follower = self.region.followers()[0]
        follower.kill()
        leader = self.region.leader()
        end = leader.status().last_index
        self.renew_until("what %s lacks is trimmed" % follower.name,
                         lambda: has_trimmed(leader, end, self.SETTINGS))
        before = len(self.watch.snapshots(follower))
        follower.start()
        self.region.wait_serving(30, [follower])
        self.all_hold()
        taken = self.watch.snapshots(follower)[before:]
        self.assertTrue(taken, "no image has come")
        print("installed %s in %.3f s" % (taken[0][2], taken[0][1] - taken[0][0]))

    @needs_processes
    def test_s15_a_lock_begins_with_the_image_on_any_node(self):
        self.make_snapshots(self.region.leader())
        for node in self.region.nodes:
            old = node.wait_actors()["lock"]
            begin = time.monotonic()
            os.kill(old, signal.SIGKILL)
            wait_for("a new lock of %s" % node.name,
                     lambda node=node, old=old: node.actor_pids().get("lock") not in (None, old), 15)
            self.region.wait_serving(30)
            print("lock of %s is back after %.2f s" % (node.name, time.monotonic() - begin))
        self.all_hold()
        self.fill.renew(5000)

    @needs_processes
    def test_a_lock_does_not_begin_with_an_image_that_was_damaged_meanwhile(self):
        node = self.region.followers()[0]
        self.make_snapshots(node)
        name = datadir.newest_image_name(node.data_dir)
        path = os.path.join(node.data_dir, name)
        place = os.path.getsize(path) * 2 // 3
        datadir.flip(path, place)
        os.kill(node.wait_actors()["lock"], signal.SIGKILL)
        wait_for("the end of the node", lambda: not node.runs(), 20)
        self.assertEqual(node.process.returncode, datadir.DAMAGED)
        self.assertRegex(node.log(), r"lock: the image of entry \d+ is damaged")
        begin = len(node.log())
        node.start()
        wait_for("its next start to name the file", lambda: name in node.log()[begin:], 20)
        # The snapshot before it and the log do as well, if that reaches back to it.
        # (Its ports may answer while its raft is about to refuse.)
        wait_for("its next start", lambda: not node.runs() or "raft: has a log of" in node.log()[begin:], 20)
        if not node.runs():
            datadir.flip(path, place)
            node.start()
        self.region.wait_serving(30)
        self.all_hold()


class Hunter:
    """Kills at a step. Armed, it strikes once: at the first such step of that node."""

    def __init__(self, nodes, rng):
        self.rng, self._armed, self._struck = rng, None, threading.Event()
        self._lock = threading.Lock()
        self.watch = datadir.Watch(nodes, self._on_step)

    def arm(self, node, step, strike):
        with self._lock:
            self._struck.clear()
            self._armed = (node, step, strike)

    def wait(self, seconds):
        """Whether it has struck; it is not armed any more."""
        struck = self._struck.wait(seconds)
        with self._lock:
            self._armed = None
        return struck or self._struck.is_set()

    def _on_step(self, node, step, name):
        with self._lock:
            if self._armed is None or node is not self._armed[0]:
                return
            wanted, strike = self._armed[1:]
            if step != ("part begun" if wanted == "part grown" else wanted):
                return
            self._armed = None
        if wanted == "part grown":
            self._let_grow(os.path.join(node.data_dir, name))
        strike()
        self._struck.set()

    def _let_grow(self, path):
        most, end = self.rng.randrange(4097, 600000), time.monotonic() + 0.05
        while time.monotonic() < end:
            try:
                if os.stat(path).st_size >= most:
                    return
            except OSError:
                return


OWN_STEPS = ("part begun", "part grown", "image named", "description named", "snapshot named",
             "old snapshot removed", "old image removed", "segment removed")
FETCH_STEPS = ("part begun", "part grown", "part grown", "image named", "description named",
               "snapshot named", "segment removed")
# Who dies: of the node that takes or receives; or of the one that sends.
VICTIMS = ("raft", "lock", "node")


def plan():
    """All ways, one after the other."""
    own = [("own", step, victim) for step in OWN_STEPS for victim in VICTIMS]
    fetch = [("fetch", step, victim) for step in FETCH_STEPS
             for victim in (*VICTIMS, "sender's raft", "sender's node", "sender's frontend")]
    restore = [("restore", "image read", "lock")] * 8
    return own, fetch, restore


class Kills(Story):
    N_NODES = 3
    SETTINGS = {**SETTINGS, "raft": {"snapshot_bytes": 65536, "trailing_entries": 32}}
    CLIENTS = 24

    def setUp(self):
        fill.Fill(self.region, 6000).take()
        super().setUp()
        self.fallen = set()
        self.hunter = Hunter(self.region.nodes, self.rng)
        self.addCleanup(self.hunter.watch.stop)

    @needs_processes
    def test_s16_kills_at_every_step(self):
        self.wait_for_load()
        ways, done = plan(), collections.Counter()
        for turn in range(KILLS):
            way, step, victim = self.rng.choice(ways[(0, 0, 1, 1, 2)[turn % 5]])
            begin = time.monotonic()
            struck = {"own": self.own, "fetch": self.fetch, "restore": self.restore}[way](
                step, victim)
            self.recorder.event("kill", way=way, step=step, victim=victim, struck=struck)
            self.mend()
            seconds = self.wait_for_grant(begin, "the loss of %s at %s" % (victim, step))
            done[way, step, victim if struck else "missed"] += 1
            if seconds > 5:
                print("%s %s %s: %.1f s to the next grant" % (way, step, victim, seconds))
        for (way, step, victim), times in sorted(done.items()):
            print("%3d  %-8s %-22s %s" % (times, way, step, victim))
        struck = sum(times for key, times in done.items() if key[2] != "missed")
        self.assertGreaterEqual(struck, KILLS * 0.7, "too few of the steps were seen")
        self.region.wait_serving(60)
        self.judge()
        self.look_at_directories()

    # ---- ways to strike ----

    def own(self, step, victim):
        node = self.rng.choice(self.region.nodes)
        self.hunter.arm(node, step, lambda: self.slay(node, victim))
        return self.hunter.wait(6)

    def fetch(self, step, victim):
        """A follower is away until its leader has trimmed what it lacks."""
        leader = self.region.leader()
        node = self.rng.choice([one for one in self.region.nodes if one is not leader])
        node.kill()
        status = leader.status()
        wait_for("the leader has trimmed its log",
                 lambda: (status and has_trimmed(leader, status.last_index, self.SETTINGS))
                 or not self.leads(leader), 20)
        target, what = (leader, victim.split()[1]) if " " in victim else (node, victim)
        self.hunter.arm(node, step, lambda: self.slay(target, what))
        node.start()
        return self.hunter.wait(6)

    @staticmethod
    def leads(node):
        status = node.status()
        return status is not None and status.leader == node.name

    def restore(self, _step, _victim):
        node = self.rng.choice(self.region.nodes)
        old = node.wait_actors()["lock"]
        os.kill(old, signal.SIGKILL)
        wait_for("a new lock", lambda: node.actor_pids().get("lock") not in (None, old), 15, 0.002)
        time.sleep(self.rng.uniform(0, 0.1))
        self.slay(node, "lock")
        return True

    def slay(self, node, victim):
        """At once, without waiting for anything."""
        pids = node.actor_pids()
        chosen = [*pids.values()] if victim == "node" else [pids[victim]] if victim in pids else []
        if victim == "node":
            self.fallen.add(node)
            node.process.kill()
        for pid in chosen:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def mend(self):
        """Starts what lies, and waits until every node serves again."""
        for node in self.fallen:
            node.wait_exit(10)
        self.fallen.clear()
        for node in self.region.nodes:
            if node.runs():
                continue
            if node.process.returncode != -signal.SIGKILL:
                raise Trouble("%s has ended with code %s" % (node.name, node.process.returncode))
            node.start()
        self.region.wait_serving(40)

    # ---- what is left ----

    def look_at_directories(self):
        time.sleep(1)
        parts = [self.parts(node) for node in self.region.nodes]
        time.sleep(2)
        for node, before in zip(self.region.nodes, parts):
            self.assertEqual(self.parts(node), before, "a part grows though nothing happens")
            self.assertLessEqual(len(before), 1, before)
            self.assertLessEqual(len(datadir.matching(node.data_dir, datadir.IMAGE)), IMAGES_MOST)
            self.assertLess(datadir.disk_bytes(node.data_dir), DISK_MOST)

    @staticmethod
    def parts(node):
        return {name: size for name, size in datadir.files(node.data_dir).items()
                if datadir.PART.match(name)}


if __name__ == "__main__":
    main()
