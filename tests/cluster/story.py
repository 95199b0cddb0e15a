"""A test under load whose history is judged: clients with all kinds of habits while something breaks."""

import os
import random
import subprocess
import sys

from calls import wait_for_answer
from cluster_case import ClusterCase
from load import Load, look
from region import ROOT, wait_for

CHECKER = os.path.join(ROOT, "tests", "checker")
sys.path.insert(0, CHECKER)
from recorder import Recorder  # noqa: E402

SEED = int(os.environ.get("LM_SEED", "1"))
FAILOVER_LIMIT = 10


class Story(ClusterCase):
    """LM_HISTORY names a folder in which the histories are kept, LM_SEED another course of events."""

    CLIENTS = 32

    def setUp(self):
        title = self.id().rsplit(".", 1)[1].removeprefix("test_")
        self.path = os.path.join(os.environ.get("LM_HISTORY") or self.region.root, title)
        self.recorder = Recorder(self.path)
        self.rng = random.Random(SEED)
        self.load = Load([node.address for node in self.region.nodes], self.recorder, title,
                         clients=self.CLIENTS, seed=SEED)

    def tearDown(self):
        self.load.running = False
        self.recorder.close()

    def wait_for_load(self):
        wait_for("load", lambda: len(self.load.grants) > 300, 30)

    def wait_for_grant(self, since, what):
        """Seconds from the fault to the first grant that was asked for after it."""
        wait_for("a grant after %s" % what, lambda: self.load.first_grant_after(since),
                 FAILOVER_LIMIT)
        return self.load.first_grant_after(since) - since

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
                               self.path], capture_output=True, text=True, timeout=600)
        print(done.stdout[-6000:] + done.stderr)
        self.assertEqual(done.returncode, 0, "the history breaks a promise")
