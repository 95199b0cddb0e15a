"""Load from 32 clients on 200 names while whole nodes are killed, and the judgement of the history.

Normally three kills of the leader and three of a follower, with LM_TEST_FULL=1 thirty of each; then
all nodes at once. Then the same with single actors that are killed or stopped. LM_HISTORY names a
folder in which the histories are kept, LM_SEED another course of events.
"""

import os
import signal
import statistics
import time

from cluster_case import main, needs_processes
from region import ACTORS, FULL, wait_for
from story import Story

KILLS = int(os.environ.get("LM_KILLS") or (30 if FULL else 3))


class Kills(Story):
    N_NODES = 3
    SETTINGS = {"lock": {"min_timeout_ms": 300}}

    # ---- faults ----

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
        self.wait_for_load()
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

    @needs_processes
    def test_s15_s23_actors_die_under_load(self):
        self.wait_for_load()
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


if __name__ == "__main__":
    main()
