"""The test case of the cluster tests: shows the logs of the nodes when a test fails."""

import sys
import unittest

import grpc

from calls import refusal_of
from region import HOST, Region


def needs_processes(test):
    """For tests of single actors, which can be killed and replaced only as processes."""
    return test if HOST == "processes" else unittest.skip("of actors that are processes")(test)


class ClusterCase(unittest.TestCase):
    """A class that sets N_NODES gets one region for all its tests, as self.region."""

    N_NODES = 0
    SETTINGS = {}
    region = None
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if cls.N_NODES:
            cls.region = Region(cls.N_NODES, settings=cls.SETTINGS)
            cls.wait_serving()

    @classmethod
    def wait_serving(cls):
        """Until the region of the class serves; if it never does, its logs say why."""
        try:
            cls.region.wait_serving()
        except BaseException:
            cls.region.print_logs()
            cls.region.close()
            raise

    @classmethod
    def tearDownClass(cls):
        if cls.region is not None:
            cls.region.close()
            cls.region = None

    def run(self, result=None):
        before = self._bad(result)
        print("%s ..." % self.id().split(".", 1)[-1], flush=True)
        super().run(result)
        if self._bad(result) != before and self.region is not None:
            self.region.print_logs()

    @staticmethod
    def _bad(result):
        return len(result.failures) + len(result.errors) if result is not None else 0

    # ---- assertions ----

    def assert_granted(self, answer):
        from calls import GRANTED
        self.assertEqual(answer.result, GRANTED, answer)
        self.assertGreater(answer.token, 0)
        self.assertTrue(answer.hold_id)
        self.assertGreater(answer.lease_remaining_ms, 0)
        self.assertLessEqual(answer.lease_remaining_ms, answer.ttl_ms)
        return answer

    def assert_refused(self, call, code, reason=None, field=None):
        refusal = refusal_of(call)
        self.assertEqual(refusal.code, code, refusal)
        if reason is not None:
            self.assertEqual(refusal.reason, reason, refusal)
        if field is not None:
            self.assertEqual(refusal.fields, [field], refusal)
        return refusal

    def assert_invalid(self, call, field):
        return self.assert_refused(call, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT",
                                   field)


def main():
    sys.stdout.reconfigure(line_buffering=True)
    program = unittest.main(verbosity=1, exit=False)
    result = program.result
    if result.wasSuccessful() and result.testsRun and len(result.skipped) == result.testsRun:
        print("skipped: %s" % result.skipped[0][1])
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
