#!/usr/bin/python3
"""Three times the load that a region can serve: acquires are shed, renewals are not, nobody is elected, and when
the load has gone everything is served again within seconds.

The nodes have all processors but one, and what makes the load has that one. Served is what the log says: an
acquire and a release are two of its commands."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

from burden import Strangers
from cluster_case import ClusterCase, main
from region import BIN, FULL, wait_for
from service import Service

SECONDS = 30 if FULL else 4
PEAK_SECONDS = 10 if FULL else 2
RECOVERY_SECONDS = 5
ATTEMPTS = 3
STRANGERS_MOST = 0.1
WORKERS = 2048


class Overload(ClusterCase):
    N_NODES = 3
    SETTINGS = {"raft": {"election_timeout_ms": 1000, "heartbeat_interval_ms": 100},
                "limits": {"concurrent_streams_max": 1000}}

    def bench(self, seconds, *more):
        """Puts load on the leader; returns (cycles that were served a second, what lockbench says)."""
        process = subprocess.Popen(
            ["taskset", "-c", str(self.processors[-1]), os.path.join(BIN, "lockbench"), "run", "--endpoints",
             self.region.addresses(), "--workload", "cycles", "--seconds", str(seconds), "--warmup", "1.5",
             "--leader", "--json", *map(str, more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)
        begin, first = self.commands()
        time.sleep(seconds)
        end, last = self.commands()
        out, error = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, error)
        return (last - first) / 2 / (end - begin), json.loads(out)

    def commands(self):
        """(now, how many the leader has applied)"""
        status = wait_for("the leader answers", lambda: self.leader.status(10), 30)
        return time.monotonic(), status.header.op_seq

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.processors = sorted(os.sched_getaffinity(0))
        cls.leader = cls.region.leader()
        for node in cls.region.nodes:
            for pid in (node.process.pid, *node.children()):
                for thread in os.listdir("/proc/%d/task" % pid):
                    os.sched_setaffinity(int(thread), cls.processors[:-1] or cls.processors)

    def term(self):
        return max(wait_for("%s answers" % node.name, lambda node=node: node.status(10), 30).header.term
                   for node in self.region.nodes)

    def shed(self):
        return sum(node.metric("lockmgr_frontend_shed_acquires_total") or 0 for node in self.region.nodes)

    def overload(self):
        """Returns the terms the region went on by, the share of strangers in the machine's work, and parts of
        the service: while the load was there, and from RECOVERY_SECONDS after it."""
        term, shed, strangers = self.term(), self.shed(), Strangers(self.region.nodes)
        service = Service(self.region.nodes)
        peak = max(self.bench(PEAK_SECONDS, "--workers", workers)[0] for workers in (64, 256))
        start = time.monotonic()
        served, hard = self.bench(SECONDS, "--workers", WORKERS, "--rate", max(1, int(3 * peak)))
        stop = time.monotonic()
        time.sleep(RECOVERY_SECONDS + 2)
        end = time.monotonic()
        service.stop()
        kept = [row for row in service.rows if row[1] == "renew"]
        lost = [row for row in kept if row[3]]
        during, after = service.part(start, stop), service.part(stop + RECOVERY_SECONDS, end)
        share, elections = strangers.share(), self.term() - term
        print("peak %.0f cycles/s; at three times that %.0f (%.0f%%), %d shed, %d errors (%s); %d elections, %.0f%% of "
              "the work was that of others" % (peak, served, 100 * served / peak,
                                               self.shed() - shed, hard["errors"], hard["error"], elections, 100 * share))
        print("well-behaved clients, n p50 p99 err: during %s, after %s; %d renewals, %d failed"
              % (during, after, len(kept), len(lost)))
        self.assertGreater(len(kept), 0)
        self.assertEqual(lost, [], "a renewal failed")
        self.assertEqual(service.lost, [])
        self.assertEqual(after.errors, [])
        self.assertGreater(served, peak / 4)
        return elections, share

    def test_three_times_what_can_be_served(self):
        pids = [node.actor_pids() for node in self.region.nodes]
        for _ in range(ATTEMPTS):
            elections, strangers = self.overload()
            if elections == 0 or strangers < STRANGERS_MOST:
                break
        self.assertEqual(elections, 0, "somebody was elected")
        self.assertEqual([node.actor_pids() for node in self.region.nodes], pids, "an actor has died")


if __name__ == "__main__":
    main()
