#!/usr/bin/python3
"""A follower whose lock takes nothing, under full load: its node's memory stays bounded (S20), and it
catches up when the lock lives again. Half a minute, with LM_TEST_FULL=1 ten minutes."""

import os
import time

import burden
import fill
from cluster_case import ClusterCase, main, needs_processes
from measure import Stopper
from region import FULL

SECONDS = int(os.environ.get("LM_BOUNDS_SECONDS") or (600 if FULL else 30))
GROWTH_MOST_KIB = 128 << 10


class Bounds(ClusterCase):
    N_NODES = 3
    SETTINGS = {"lock": {"max_timeout_ms": 86400000}}

    @needs_processes
    def test_s20_a_follower_whose_lock_is_stopped_stays_small(self):
        load = fill.Fill(self.region, 20000, ttl_ms=86400000)
        load.take()
        process = load.start_renewing(1000000000, outstanding=512)
        node = self.region.followers()[0]
        time.sleep(5)
        before = burden.weigh(node)
        stopper = Stopper(node, "lock")
        scales = burden.Scales([node], per_second=2)
        try:
            time.sleep(SECONDS)
        finally:
            scales.stop()
            report = fill.stop(process)
            stopper.release()
        peak = scales.peak(node)
        print("%d s, %.0f renewals/s, lock stopped %d times: %d KiB before, at most %d KiB (raft %d)"
              % (SECONDS, report["calls_per_second"], stopper.stopped, before["all"], peak["all"],
                 peak.get("raft", 0)))
        self.assertGreater(stopper.stopped, SECONDS / 20, "the lock was not kept stopped")
        self.assertLess(peak["all"] - before["all"], GROWTH_MOST_KIB)
        self.region.wait_serving(60)
        self.region.wait_equal_hashes(60)


if __name__ == "__main__":
    main()
