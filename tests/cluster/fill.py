"""lockmgr-fill for tests: many held locks, renewals, probes."""

import json
import os
import subprocess

import region

PROGRAM = os.path.join(region.BIN, "lockmgr-fill")


class Fill:
    """So many locks of a region, each held by an owner of its own. With a priority above 0 what makes
    the calls stands back for the nodes."""

    def __init__(self, where, locks, ttl_ms=3600000, outstanding=256, priority=0):
        self.region, self.locks = where, locks
        self.ttl_ms, self.outstanding = ttl_ms, outstanding
        self.front = ["nice", "-n", str(priority)] if priority else []
        self.holds = os.path.join(where.root, "holds.%d" % locks)

    def _command(self, job, *more):
        return [*self.front, PROGRAM, job, "--endpoints", self.region.addresses(), "--json",
                "--quiet", "--outstanding", str(self.outstanding), *map(str, more)]

    def _renew(self, renewals, outstanding, seed, leader):
        more = ["--outstanding", outstanding] if outstanding else []
        return self._command("renew", "--holds", self.holds, "--locks", self.locks, "--renewals",
                             renewals, "--seed", seed, *more, *(["--leader"] if leader else []))

    def take(self, seconds=300):
        return finish(self._command("take", "--holds", self.holds, "--locks", self.locks, "--ttl",
                                    self.ttl_ms, "--leader"), seconds)

    def renew(self, renewals, seconds=300, outstanding=None, seed=1, leader=True):
        return finish(self._renew(renewals, outstanding, seed, leader), seconds)

    def start_renewing(self, renewals, outstanding=None, seed=1, leader=True):
        """In the background, until it has done them or is stopped."""
        return start(self._renew(renewals, outstanding, seed, leader))

    def start_probing(self, seconds, samples, rate=100):
        return start(self._command("probe", "--seconds", seconds, "--rate", rate, "--samples",
                                   samples))


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(command, seconds):
    """Runs it to its end; returns what it said."""
    return result(start(command), seconds)


def result(process, seconds):
    try:
        out, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise region.Trouble("lockmgr-fill was not done within %g s" % seconds) from None
    return _report(process, out, error)


def result_by(process, seconds):
    """What it said at its end, or until then if it is not done within so many seconds."""
    try:
        out, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return stop(process)
    return _report(process, out, error)


def _report(process, out, error):
    if process.returncode != 0:
        raise region.Trouble("lockmgr-fill ended with code %d: %s%s"
                             % (process.returncode, out, error))
    return json.loads(out)


def stop(process):
    """Ends a run before its time; returns what it did until then."""
    process.terminate()
    return result(process, 30)


def read_samples(path):
    """(time on CLOCK_MONOTONIC when it was answered, milliseconds it took) of each probe."""
    with open(path) as file:
        rows = [line.split() for line in file]
    return [(float(row[0]), float(row[1])) for row in rows if len(row) == 3]


def part(values, share):
    """The value that this share of them does not exceed; 0 if there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0
