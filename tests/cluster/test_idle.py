"""Ten idle minutes: nobody campaigns, nobody dies, nothing is written that nobody asked for."""

import os
import time

from cluster_case import ClusterCase, main

MINUTES = float(os.environ.get("LM_IDLE_MINUTES", "10"))


class Idle(ClusterCase):
    N_NODES = 3

    def test_no_election_in_ten_minutes(self):
        before = [node.status() for node in self.region.nodes]
        pids = [node.wait_actors() for node in self.region.nodes]
        end = time.monotonic() + MINUTES * 60
        while time.monotonic() < end:
            time.sleep(min(10, max(0.1, end - time.monotonic())))
        after = [node.status() for node in self.region.nodes]
        terms = {status.header.term for status in before + after}
        print("%g idle minutes: terms %s, %d entries" % (
            MINUTES, sorted(terms), after[0].last_index - before[0].last_index))
        self.assertEqual(len(terms), 1, "there were elections")
        self.assertEqual(len({status.leader for status in before + after}), 1)
        self.assertEqual([node.actor_pids() for node in self.region.nodes], pids)


if __name__ == "__main__":
    main()
