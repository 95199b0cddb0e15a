#!/usr/bin/python3
"""Nodes that have lost what they once acknowledged (S19), and nodes whose files are damaged.

The loss is that of an older copy of the data directory under the watermark of today: its files are
whole, its log only ends too early."""

import os
import shutil
import time

import datadir
import fill
from calls import wait_for_answer
from cluster_case import ClusterCase, main
from region import Region, wait_for

WATERMARK = "watermark"


class Losses(ClusterCase):
    def setUp(self):
        type(self).region = Region(3, settings={"lock": {"max_timeout_ms": 86400000}})
        self.region.wait_serving()
        self.fill = fill.Fill(self.region, 3000)
        self.fill.take()

    def tearDown(self):
        self.region.close()

    # ---- making a loss ----

    def keep_copies(self):
        """Of the directories of all nodes, as they are now."""
        self.region.wait_equal_hashes()
        self.stop_all()
        for node in self.region.nodes:
            shutil.copytree(node.data_dir, node.data_dir + ".old")
        self.region.start()
        self.region.wait_serving()

    def stop_all(self):
        for node in self.region.nodes:
            node.stop()

    def lose(self, node):
        """Puts the copy in the place of the log, but for the watermark."""
        lost = node.data_dir + ".lost"
        os.rename(node.data_dir, lost)
        os.rename(node.data_dir + ".old", node.data_dir)
        shutil.copy(os.path.join(lost, WATERMARK), os.path.join(node.data_dir, WATERMARK))
        # Term and vote are those of today too: a vote that was given is not taken back.
        for name in ("metadata1", "metadata2"):
            shutil.copy(os.path.join(lost, name), os.path.join(node.data_dir, name))

    def lose_on(self, nodes):
        self.keep_copies()
        self.fill.renew(20000)
        self.held = self.region.node(1).client.acquire("after/the/copy", "me", ttl_ms=3600000)
        self.region.wait_equal_hashes()
        self.stop_all()
        for node in nodes:
            self.lose(node)

    def problem(self, node):
        status = node.status()
        return status.problem if status else ""

    # ---- the tests ----

    def test_s19_one_node_is_rebuilt_by_the_others(self):
        loser = self.region.node(2)
        self.lose_on([loser])
        self.region.start()
        wait_for("it says so", lambda: "this node has acknowledged entries up to" in loser.log(), 20)
        self.region.wait_serving()
        wait_for("it has everything again",
                 lambda: "votes from now on" in loser.log() and not self.problem(loser), 60)
        self.region.wait_equal_hashes()
        # It votes again: with one of the others away the region lives on it.
        self.region.leader()
        self.region.node(1).kill()
        answer = wait_for_answer(lambda: loser.client.get("after/the/copy", timeout=5))
        self.assertEqual([one.token for one in answer.holders], [self.held.token])

    def test_s19_two_nodes_elect_nobody_and_say_what_to_do(self):
        losers = [self.region.node(1), self.region.node(2)]
        self.lose_on(losers)
        for node in losers:
            node.start()
        for node in losers:
            text = wait_for("%s says what it lacks" % node.name,
                            lambda node=node: "log is lost" in self.problem(node)
                            and self.problem(node), 30)
            self.assertIn("start the others", text)
        time.sleep(5)
        for node in losers:
            self.assertEqual(node.status().leader, "", "a leader without the entries")
            self.assertNotEqual(node.http("/actuator/health/readiness")[0], 200)
        # The third one alone is no majority either: two must have what was promised.
        self.region.node(3).start()
        time.sleep(5)
        self.assertEqual({node.status().leader for node in self.region.nodes}, {""})
        # What it says to do, done: one of the two gets its own directory back.
        found = losers[0]
        found.stop()
        shutil.rmtree(found.data_dir)
        os.rename(found.data_dir + ".lost", found.data_dir)
        found.start()
        self.region.wait_serving(60)
        lock = wait_for_answer(lambda: found.client.get("after/the/copy", timeout=5))
        self.assertEqual([one.token for one in lock.holders], [self.held.token])
        wait_for("the other one is whole", lambda: not self.problem(losers[1]), 60)
        self.region.wait_equal_hashes(60)


class Damage(ClusterCase):
    """A few files end to end; every place of every file is the business of the unit tests."""

    def setUp(self):
        type(self).region = Region(3, settings={"raft": {"snapshot_bytes": 65536,
                                                         "trailing_entries": 32}})
        self.region.wait_serving()
        load = fill.Fill(self.region, 3000, ttl_ms=300000)
        load.take()
        load.renew(3000)
        self.node = self.region.node(2)
        self.node.stop()

    def tearDown(self):
        self.region.close()

    def damage(self, pattern):
        """Turns a byte in the middle of each such file; returns their names."""
        names = datadir.matching(self.node.data_dir, pattern)
        for name in names:
            path = os.path.join(self.node.data_dir, name)
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 0x40]))
        return names

    def start_damaged(self, pattern):
        """Returns what the node says of one of the damaged files."""
        shutil.rmtree(self.node.data_dir)
        shutil.copytree(self.whole, self.node.data_dir)
        names, begin = self.damage(pattern), len(self.node.log())
        self.node.start()
        wait_for("the end of a node with damaged %s" % names, lambda: not self.node.runs(), 20)
        self.assertEqual(self.node.process.returncode, datadir.DAMAGED, names)
        said = [line for line in self.node.log()[begin:].splitlines()
                if any(name in line for name in names)]
        self.assertTrue(said, "none of %s is named" % names)
        return said[-1]

    def test_damaged_files_are_named_and_refused(self):
        self.whole = self.node.data_dir + ".whole"
        shutil.copytree(self.node.data_dir, self.whole)
        for pattern in (datadir.IMAGE, datadir.SNAPSHOT, datadir.DESCRIPTION, datadir.SEGMENT):
            print(self.start_damaged(pattern))
        shutil.rmtree(self.node.data_dir)
        os.rename(self.whole, self.node.data_dir)
        self.node.start()
        self.region.wait_serving(30)
        self.region.wait_equal_hashes()


if __name__ == "__main__":
    main()
