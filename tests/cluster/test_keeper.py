#!/usr/bin/python3
"""The C library's keeper of single holds against a real node."""

import os
import subprocess

from cluster_case import ClusterCase, main
from region import BIN

STORY = os.path.join(os.path.dirname(BIN), "tests", "keeper_story")


class Keeper(ClusterCase):
    N_NODES = 1

    def test_s6_a_hold_that_was_waited_for_is_renewed_before_it_is_used(self):
        done = subprocess.run([STORY, self.region.addresses(), "kept/late"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.region.node(1).client.list("kept/").locks[:], [])


if __name__ == "__main__":
    main()
