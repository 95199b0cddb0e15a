"""Whether lock_traffic.py sees what it is there to see: held against lines that are right, and against others."""

import json
import unittest

from lock_traffic import Traffic, doubles


def lines(*turns, name="a", **more):
    """Turns of lockctl ping: (token, granted, released)."""
    return "".join(json.dumps({"name": name, "token": str(token), "granted": granted,
                               "released": released, "acquireMs": 1.0, "releaseMs": 1.0,
                               "attempts": 2, "lost": False, "endpoint": "", **more}) + "\n"
                   for token, granted, released in turns)


class LockTraffic(unittest.TestCase):
    def setUp(self):
        self.traffic = Traffic()

    def test_locks_that_are_right(self):
        self.traffic.read("one", lines((1, 10.0, 10.1), (3, 10.5, 10.6)))
        self.traffic.read("two", lines((2, 10.2, 10.3), (4, 12.7, 12.8)))
        self.traffic.read("two", json.dumps({"name": "a", "locks": 2, "lostHolds": 0,
                                             "unansweredCalls": 0, "longestMs": 2500.0}))
        self.assertEqual((self.traffic.judge(), len(self.traffic.holds)), ([], 4))

    def test_double_grants_are_seen(self):
        self.traffic.read("one", lines((1, 10.0, 10.1), (3, 10.5, 10.6)))
        self.traffic.read("two", lines((2, 10.05, 10.3)))
        self.assertEqual(len(self.traffic.judge()), 1)

    def test_lost_holds_are_seen(self):
        self.traffic.read("one", lines((1, 10.0, 10.1), lost=True))
        self.assertEqual(self.traffic.judge(), ["a, token 1: lost"])

    def test_what_is_no_line_of_it_is_seen(self):
        self.traffic.read("one", lines((1, 10.0, 10.1)) + "lockctl: no such host\n")
        self.assertEqual(self.traffic.judge(), ["one: lockctl: no such host"])

    def test_calls_without_an_answer_are_kept(self):
        self.traffic.read("one", json.dumps({"name": "a", "at": 5.0, "unanswered": "acquire",
                                             "why": "NO_LEADER"}))
        self.assertEqual(self.traffic.unanswered, [(5.0, "acquire of one: NO_LEADER")])

    def test_the_longest_time_is_that_of_one_caller(self):
        self.traffic.read("one", lines((1, 10.0, 10.1), (2, 10.9, 11.0), (3, 11.0, 11.0), (4, 14.0, 14.0)))
        self.traffic.read("two", lines((1, 10.0, 10.0), (2, 10.5, 10.6), (3, 11.0, 11.1), (4, 13.0, 13.1),
                                       (5, 14.0, 14.0), name="b"))
        self.assertEqual(self.traffic.longest(10.2, 10.8), (0.9000000000000004, "one", 10.0))
        self.assertEqual(self.traffic.longest(10.2, 12), (3.0, "one", 11.0))
        self.assertEqual(self.traffic.longest(10.2, 12, ("two",)), (2.0, "two", 11.0))

    def test_a_caller_that_was_granted_nothing_any_more_is_seen(self):
        self.traffic.read("one", lines((1, 10.0, 10.1)))
        self.assertEqual(self.traffic.longest(10.2, 12), (2.0, "one", 10.0))

    def test_overlaps_and_tokens(self):
        self.assertEqual(doubles([("a", 1, 0.0, 1.0), ("a", 2, 1.5, 2.0), ("b", 1, 0.5, 3.0)]), [])
        self.assertEqual(len(doubles([("a", 1, 0.0, 1.0), ("a", 2, 0.9, 2.0)])), 1)
        self.assertEqual(len(doubles([("a", 2, 0.0, 1.0), ("a", 1, 1.5, 2.0)])), 1)


if __name__ == "__main__":
    unittest.main()
