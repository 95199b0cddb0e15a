"""The C library's sessions against a region that is made up: lost answers, late copies, orphans,
silence. S6, S12b and S12c as a client has to keep them."""

import time
import unittest

from cluster_case import main
from fake_region import FakeRegion
from holder import Holder
from region import wait_for

LOCKS, TTL_MS = 20, 4500


class Library:
    WAY = None

    def setUp(self):
        self.region = FakeRegion()
        self.addCleanup(self.region.close)

    def tearDown(self):
        self.assertEqual(self.region.complaints, [])

    def begin(self, locks=LOCKS, **options):
        holder = Holder(self.region.address, "fake/", locks, TTL_MS, self.WAY, **options)
        self.addCleanup(holder.kill)
        return holder

    def held(self):
        with self.region.lock:
            return sorted(name for name in self.region.session().holds if "churn" not in name)

    def test_keeps_at_a_third_of_the_length(self):
        holder = self.begin()
        holder.ready()
        time.sleep(6)
        code, report = holder.end()
        self.assertEqual((code, report["state"], report["jeopardies"]), (0, "safe", 0), report)
        self.assertEqual(self.region.sessions, {})
        self.assertGreater(report["cycles"], 5)
        self.assertEqual(report["failures"], 0)
        self.assertGreaterEqual(self.region.asked, 3)
        self.assertLessEqual(self.region.asked, 9)

    def keep_for(self, seconds):
        holder = self.begin()
        holder.ready()
        time.sleep(seconds)
        code, report = holder.end()
        self.assertEqual((code, report["state"], report["jeopardies"]), (0, "safe", 0), report)

    def test_keeps_on_the_stream(self):
        self.keep_for(6)
        self.assertGreaterEqual(self.region.on_stream, 3)
        self.assertEqual(self.region.on_stream, self.region.asked)

    def test_keeps_by_calls_where_there_is_no_stream(self):
        self.region.streams = False
        self.keep_for(6)
        self.assertGreaterEqual(self.region.asked, 3)

    def test_a_stream_that_answers_nothing_costs_no_jeopardy(self):
        self.region.mute = True
        self.keep_for(7)
        self.assertEqual(self.region.on_stream, 0)
        self.assertGreaterEqual(self.region.asked, 3)

    def test_s12b_s12c_answers_get_lost_and_copies_come_late(self):
        self.region.lose, self.region.skip, self.region.again = 0.2, 0.1, 0.3
        holder = self.begin()
        holder.ready()
        time.sleep(4)
        self.region.lose = self.region.skip = self.region.again = 0
        expected = sorted("fake/%d" % i for i in range(LOCKS))
        wait_for("nothing but what is wanted", lambda: self.held() == expected, 20)
        code, report = holder.end()
        self.assertEqual((code, report["held"]), (0, LOCKS), report)

    def test_who_asks_again_after_a_timeout_is_not_in_his_own_way(self):
        holder = self.begin(timeout_ms=60)
        holder.ready()
        self.region.lose = 0.6
        time.sleep(3)
        self.region.lose = 0
        time.sleep(1)
        code, report = holder.end()
        self.assertEqual((code, report["held"]), (0, LOCKS), report)
        self.assertGreater(report["failures"], 0, "nothing was given up")
        self.assertGreater(report["cycles"], 0)
        self.assertNotIn("has it, or waits", holder.errors)

    def test_s12c_an_orphan_is_given_back(self):
        holder = self.begin()
        holder.ready()
        self.region.plant("fake/orphan")
        wait_for("the orphan has gone", lambda: "fake/orphan" not in self.held(), 20)
        code, report = holder.end()
        self.assertEqual((code, report["orphans"], report["held"]), (0, 1, LOCKS), report)

    def test_s6_silence_is_jeopardy_and_then_the_end(self):
        holder = self.begin(2)
        holder.ready()
        time.sleep(0.5)
        with self.region.lock:
            self.region.silent = True
            last = self.region.session().kept[-1]
        # The region counts from the arrival, the client from the sending before it.
        jeopardy = holder.wait_line("jeopardy")[0] - last
        lost = holder.wait_line("lost")[0] - last
        print("jeopardy after %.2f s, lost after %.2f s" % (jeopardy, lost), flush=True)
        asked = self.region.asked
        self.assertTrue(0.6 * TTL_MS < jeopardy * 1000 < lost * 1000)
        self.assertGreater(lost * 1000, 0.9 * TTL_MS)
        time.sleep(1)
        self.assertEqual(self.region.asked, asked, "nobody asks for what is lost")
        self.assertLess(asked, 40)
        code, report = holder.end()
        self.assertEqual((code, report["state"], report["losses"]), (1, "lost", 1), report)
        self.assertIn("ran out", report["cause"])

    def test_is_told_that_it_ended(self):
        holder = self.begin(2)
        holder.ready()
        with self.region.lock:
            self.region.sessions.clear()
        holder.wait_line("lost", 20)
        code, report = holder.end()
        self.assertEqual((code, report["held"]), (1, 0), report)
        self.assertTrue(report["cause"].startswith("ended"), report)


class OwnThread(Library, unittest.TestCase):
    WAY = "thread"


class CallersLoop(Library, unittest.TestCase):
    WAY = "loop"


if __name__ == "__main__":
    main()
