#!/usr/bin/python3
"""Random histories: those of a correct server are clean, and every planted fault is found.

LOCKMGR_CHECKER_SEEDS sets the number of seeds (default 300 legal histories, 60 of each fault).
"""

import os
import random
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from history_check import check
from history_faults import FAULTS
from history_generator import generate
from wrong_servers import WRONG

SEEDS = int(os.environ.get("LOCKMGR_CHECKER_SEEDS", "300"))
SHAPES = (
    {},
    {"names": 1, "clients": 8, "shared": 0.9},
    {"names": 1, "clients": 3, "shared": 0.0, "loss": 0.25},
    {"names": 8, "clients": 4, "kills": 5, "loss": 0.15},
    {"names": 2, "clients": 12, "shared": 0.6, "kills": 0, "loss": 0.0},
)


class LegalHistories(unittest.TestCase):
    def test_histories_of_a_correct_server_are_clean(self):
        for seed in range(SEEDS):
            for shape in (SHAPES[0], SHAPES[1 + seed % (len(SHAPES) - 1)]):
                found = check(generate(seed, **shape))
                self.assertEqual([], found, "seed %d, %r" % (seed, shape))

    def test_generator_reaches_the_rare_answers(self):
        seen = {(row.get("op"), row.get("outcome"), row.get("result"))
                for seed in range(SEEDS) for row in generate(seed, loss=0.15)}
        for wanted in (("acquire", "info", None), ("acquire", "fail", "unavailable"),
                       ("acquire", "ok", "timed_out"), ("acquire", "ok", "ended"),
                       ("renew", "ok", "ended"), ("release", "info", None),
                       ("cancel", "ok", "granted"), ("cancel", "ok", "cancelled")):
            self.assertIn(wanted, seen)

    def test_same_seed_same_history(self):
        self.assertEqual(generate(7), generate(7))


class PlantedFaults(unittest.TestCase):
    def test_every_planted_fault_is_found_by_its_check(self):
        planted, missed = {}, []
        for name, (plant, wanted) in FAULTS.items():
            for seed in range(max(1, SEEDS // 5)):
                rows, rng = generate(seed, names=3), random.Random(seed)
                if not plant(rows, rng):
                    continue
                planted[name] = planted.get(name, 0) + 1
                if wanted not in {violation.check for violation in check(rows)}:
                    missed.append("%s, seed %d" % (name, seed))
        total = sum(planted.values())
        print("planted %d faults of %d kinds, found %d" % (total, len(planted),
                                                          total - len(missed)))
        self.assertEqual([], missed)
        self.assertEqual(set(FAULTS), set(planted), "a kind of fault never found a place")


class WrongServers(unittest.TestCase):
    def test_every_wrong_server_is_found_out(self):
        seeds = range(max(30, SEEDS // 10))
        for server, shape in WRONG:
            found = sum(1 for seed in seeds if check(generate(seed, server=server, **shape)))
            print("%s: found by %d of %d seeds" % (server.__name__, found, len(seeds)))
            self.assertGreater(found, 0, server.__name__)


if __name__ == "__main__":
    unittest.main()
