"""Whole nodes in one process each under the thread sanitizer, with load. Its reports stand in the logs
of the nodes, and Region fails when it finds one there."""

import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))
from cluster_case import ClusterCase, main  # noqa: E402
from race_options import environment  # noqa: E402
from region import BIN, Region  # noqa: E402

SECONDS = 6
PAGES = ("health", "health/readiness", "info", "locks", "prometheus", "threaddump")
SETTINGS = {"actuator": {"exposure": {"include": ["health", "info", "locks", "prometheus", "threaddump"]}}}


class Races(ClusterCase):
    def begin(self, n_nodes):
        os.environ.update(environment(os.path.join(BIN, "lockmgr-node")))
        type(self).region = Region(n_nodes, settings=SETTINGS)
        self.region.wait_serving(90)

    def tearDown(self):
        self.region.close()

    def load(self, *options):
        done = subprocess.run(
            [os.path.join(BIN, "lockbench"), "run", "--endpoints", self.region.addresses(),
             "--workers", "8", "--seconds", str(SECONDS), *options],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, **environment(os.path.join(BIN, "lockbench"))})
        print(done.stdout, done.stderr[:3000])
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("ThreadSanitizer", done.stderr)

    def run_under_a_lock(self):
        """The session of lockctl is kept alive while its child runs."""
        done = self.region.lockctl("run", "kept", "--ttl", "3s", "--", "sleep", "4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("ThreadSanitizer", done.stderr)

    def look(self, node):
        for page in PAGES:
            self.assertEqual(node.http("/actuator/" + page)[0], 200, page)

    def test_one_node(self):
        self.begin(1)
        self.load("--names", "4")
        self.load()
        self.look(self.region.node(1))
        self.run_under_a_lock()
        self.assertEqual(self.region.node(1).stop(), 0)

    def test_three_nodes(self):
        self.begin(3)
        self.load("--names", "4")
        self.region.followers()[0].kill()
        time.sleep(1)
        self.region.start()
        self.region.wait_serving(90)
        self.load()
        for node in self.region.nodes:
            self.look(node)
        self.run_under_a_lock()
        for node in self.region.nodes:
            self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    main()
