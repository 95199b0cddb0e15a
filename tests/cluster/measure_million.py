#!/usr/bin/python3
"""A region of three nodes with a million held locks: memory, snapshots, starts, disk.

usage: LM_BIN=build/bin measure_million.py [--locks N] [--renewals N] [--only PART,...] [REPORT.json]

Each lock is held exclusively under a name of 32 bytes by an owner of its own of 16 bytes, without a
session. PARTS: memory; snapshots, under an even load that leaves the machine its ease; saturated, the same
under as much load as there can be; starts; disk. Figures are printed as they come, each with the load
of the machine, and written to the report. With the presets it takes about an hour on two cores, most
of it for ten million renewals.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from measure import Filled  # noqa: E402
from region import Region  # noqa: E402

PARTS = ("memory", "snapshots", "saturated", "starts", "disk")


def settings_for(options):
    return {"lock": {"max_timeout_ms": 86400000},
            "limits": {"locks_max": options.locks + 10000},
            "raft": {"snapshot_bytes": options.snapshot_bytes}}


class Report:
    def __init__(self, path):
        self.path, self.rows, self.begin = path, {}, time.monotonic()

    def add(self, what, figures):
        figures["load average"] = round(os.getloadavg()[0], 1)
        self.rows[what] = figures
        print("[%5d s] %s: %s" % (time.monotonic() - self.begin, what,
                                  json.dumps(figures, indent=2)), flush=True)
        if self.path:
            with open(self.path, "w") as file:
                json.dump(self.rows, file, indent=2)
                file.write("\n")


def measure(filled, options, report):
    region = filled.region
    took = filled.take(options.limit)
    report.add("filling", {key: took[key] for key in ("calls", "seconds", "calls_per_second",
                                                      "p50_us", "p99_us", "max_us")})
    if "memory" in options.only:
        report.add("memory at rest, KiB", filled.at_rest())
    if "snapshots" in options.only:
        report.add("snapshots", filled.snapshots_under_probe(options.snapshots, options.rate, 2,
                                                             options.limit))
    if "saturated" in options.only:
        report.add("snapshots under full load",
                   filled.snapshots_under_probe(options.snapshots, 100, None, options.limit))
    if "starts" in options.only:
        report.add("start of a follower", filled.kill_and_start(region.followers()[0]))
        report.add("start of the old leader", filled.kill_and_start(region.leader()))
    if "disk" in options.only:
        report.add("disk", filled.disk_under_renewals(options.renewals, options.limit))
        report.add("memory at rest after the renewals, KiB", filled.at_rest())
    index, digest = region.wait_equal_hashes(60)
    report.add("state hash of all nodes", {"index": index, "hash": digest})


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--locks", type=int, default=1000000)
    parser.add_argument("--renewals", type=int, default=10000000)
    parser.add_argument("--snapshots", type=int, default=2, help="of each node, under the probe")
    parser.add_argument("--rate", type=int, default=300, help="requests per second of the probe")
    parser.add_argument("--snapshot-bytes", type=int, default=16777216,
                        help="log behind a snapshot that makes it time for the next")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--limit", type=int, default=7200, help="seconds for any one part")
    parser.add_argument("report", nargs="?", help="file for the figures")
    options = parser.parse_args()
    options.only = options.only.split(",")
    with Region(3, settings=settings_for(options)) as region:
        region.wait_serving()
        measure(Filled(region, options.locks), options, Report(options.report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
