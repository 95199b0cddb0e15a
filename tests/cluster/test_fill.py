#!/usr/bin/python3
"""lockmgr-fill itself: it ends when it is asked to, also where nobody answers."""

import json
import subprocess
import time
import unittest

import fill
import region


class Fill(unittest.TestCase):
    def test_asked_to_stop_it_repeats_nothing_any_more(self):
        ports = region.Ports()
        self.addCleanup(ports.close)
        address = "127.0.0.1:%d" % ports.take()
        process = fill.start([fill.PROGRAM, "take", "--endpoints", address, "--locks", "1000",
                              "--quiet", "--json"])
        self.addCleanup(process.kill)
        time.sleep(1)
        self.assertIsNone(process.poll(), "it has nobody to ask, and goes on trying")
        process.terminate()
        try:
            out, error = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.fail("it did not end")
        self.assertEqual(json.loads(out)["calls"], 0, error)


if __name__ == "__main__":
    unittest.main()
