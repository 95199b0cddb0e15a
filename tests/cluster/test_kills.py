"""Load from 32 clients on 200 names while whole nodes are killed, and the judgement of the history.

Normally three kills of the leader and three of a follower, with LM_TEST_FULL=1 thirty of each; then
all nodes at once. Then the same with single actors that are killed or stopped. LM_HISTORY names a
folder in which the histories are kept, LM_SEED another course of events.
"""

import os
import random
import signal
import statistics
import subprocess
import sys
import time

from calls import wait_for_answer
from cluster_case import ClusterCase, main
from load import Load, look
from region import ACTORS, FULL, ROOT, wait_for

CHECKER = os.path.join(ROOT, "tests", "checker")
sys.path.insert(0, CHECKER)
from recorder import Recorder  # noqa: E402

KILLS = int(os.environ.get("LM_KILLS") or (30 if FULL else 3))
FAILOVER_LIMIT = 10
SEED = int(os.environ.get("LM_SEED", "1"))


class Kills(ClusterCase):
    N_NODES = 3
    SETTINGS = {"lock": {"min_timeout_ms": 300}}

    def setUp(self):
        title = self.id().rsplit(".", 1)[1].removeprefix("test_")
        self.path = os.path.join(os.environ.get("LM_HISTORY") or self.region.root, title)
        self.recorder = Recorder(self.path)
        self.rng = random.Random(SEED)
        self.load = Load([node.address for node in self.region.nodes], self.recorder, title,
                         seed=SEED)

    def tearDown(self):
        self.load.running = False
        self.recorder.close()

    # ---- faults ----

    def wait_for_grant(self, since, what):
        """Seconds from the fault to the first grant that was asked for after it."""
        wait_for("a grant after %s" % what, lambda: self.load.first_grant_after(since),
                 FAILOVER_LIMIT)
        return self.load.first_grant_after(since) - since

    def kill(self, node, what):
        begin = time.monotonic()
        self.recorder.event("kill_" + what, node=node.name)
        node.kill()
        return begin

    def restart(self, node):
        node.start()
        self.region.wait_serving(30, [node])
        self.recorder.event("restarted", node=node.name)

    def kill_leader(self):
        leader = self.region.leader()
        begin = self.kill(leader, "leader")
        seconds = self.wait_for_grant(begin, "the leader's death")
        time.sleep(self.rng.uniform(0.2, 1))
        self.restart(leader)
        return seconds

    def kill_follower(self):
        victim = self.rng.choice(self.region.followers())
        begin = self.kill(victim, "follower")
        seconds = self.wait_for_grant(begin, "a follower's death")
        time.sleep(self.rng.uniform(0.2, 1))
        self.restart(victim)
        return seconds

    def kill_all(self):
        self.recorder.event("kill_all")
        begin = time.monotonic()
        self.region.kill_all()
        self.region.start()
        seconds = self.wait_for_grant(begin, "the death of all nodes")
        self.region.wait_serving(30)
        return seconds

    # ---- the story ----

    def test_nothing_that_was_promised_is_lost(self):
        wait_for("load", lambda: len(self.load.grants) > 300, 30)
        leader_times, follower_times = [], []
        for _ in range(KILLS):
            leader_times.append(self.kill_leader())
            time.sleep(self.rng.uniform(0.5, 1.5))
            follower_times.append(self.kill_follower())
            time.sleep(self.rng.uniform(0.5, 1.5))
        all_time = self.kill_all()
        time.sleep(2)
        self.report("leader kill", leader_times)
        self.report("follower kill", follower_times)
        print("death of all nodes to next grant: %.2f s" % all_time)
        self.judge()

    def test_s15_s23_actors_die_under_load(self):
        wait_for("load", lambda: len(self.load.grants) > 300, 30)
        times = {name: [] for name in ACTORS}
        for turn in range(KILLS * len(ACTORS)):
            actor = ACTORS[turn % len(ACTORS)]
            times[actor].append(self.lose_actor(actor, self.rng.random() < 0.3))
            time.sleep(self.rng.uniform(0.2, 0.8))
        for actor, seconds in times.items():
            self.report("loss of %s" % actor, seconds)
        self.region.wait_serving(30)
        self.judge()

    def lose_actor(self, actor, is_stopped):
        """Kills or stops one; returns when the node has a new one and the region grants."""
        node = self.rng.choice(self.region.nodes)
        old = node.wait_actors()[actor]
        self.recorder.event("stop" if is_stopped else "kill", node=node.name, actor=actor)
        begin = time.monotonic()
        os.kill(old, signal.SIGSTOP if is_stopped else signal.SIGKILL)
        wait_for("a new %s of %s" % (actor, node.name),
                 lambda: node.actor_pids().get(actor) not in (None, old), 15)
        return self.wait_for_grant(begin, "the loss of %s" % actor)

    def report(self, what, times):
        print("%s to next grant, %d times: median %.3f s, max %.3f s"
              % (what, len(times), statistics.median(times), max(times)))

    def look_at_everything(self):
        for number, name in enumerate(self.load.names):
            node = self.region.nodes[number % 3]
            mark = self.recorder.begin(event="final_get", op="get", proc=-1, name=name)
            answer, fields = wait_for_answer(lambda node=node, name=name:
                                             look(node.client.locks, name, 5))
            self.recorder.end(mark, "ok", op_seq=answer.header.op_seq, **fields)

    def judge(self):
        self.load.stop()
        self.look_at_everything()
        print("state hash %s at index %d on all nodes" % self.region.wait_equal_hashes()[::-1])
        self.recorder.close()
        done = subprocess.run([sys.executable, "-B", os.path.join(CHECKER, "history_check.py"),
                               self.path], capture_output=True, text=True, timeout=300)
        print(done.stdout[-6000:] + done.stderr)
        self.assertEqual(done.returncode, 0, "the history breaks a promise")


if __name__ == "__main__":
    main()
