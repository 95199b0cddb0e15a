"""The measures of a region full of held locks: what measure_million.py takes for the record, and what
test_snapshots.py takes in small."""

import os
import signal
import threading
import time

import burden
import datadir
import fill
from region import wait_for


class Filled:
    """A region with so many held locks; each measure returns what it found, in plain types."""

    def __init__(self, region, locks, outstanding=1024):
        self.region, self.locks = region, locks
        self.fill = fill.Fill(region, locks, ttl_ms=86400000, outstanding=outstanding)
        self.empty = None

    # ---- filling ----

    def take(self, seconds):
        self.empty = {node.name: burden.weigh(node) for node in self.region.nodes}
        report = self.fill.take(seconds)
        for node in self.region.nodes:
            wait_for("%s has %d holds" % (node.name, self.locks),
                     lambda node=node: self._holds(node) >= self.locks, 60, 0.2)
        return report

    @staticmethod
    def _holds(node):
        status = node.status()
        return status.holds if status else 0

    # ---- memory ----

    def at_rest(self):
        """KiB of each process, when no image is being written."""
        wait_for("no image is being written", self._is_calm, 120, 0.2)
        weights = {}
        for node in self.region.nodes:
            weights[node.name] = burden.weigh(node)
            lock = weights[node.name]["lock"] - self.empty[node.name]["lock"]
            weights[node.name]["lock bytes per lock"] = round(lock * 1024 / self.locks, 1)
        return weights

    def _is_calm(self):
        return not any(datadir.matching(node.data_dir, datadir.PART) for node in self.region.nodes)

    # ---- snapshots and requests ----

    def snapshots_under_probe(self, snapshots, rate, outstanding, seconds):
        """Asks so many times per second, and renews with so many calls under way besides, until every
        node has taken so many snapshots. Returns sizes and times of the snapshots, the heaviest moment
        of each node while it took one, and how long requests took with and without one being taken.
        Few renewals leave the machine its ease, many do not: either says something else."""
        nodes = self.region.nodes
        samples = os.path.join(self.region.root, "probe")
        watch, scales = datadir.Watch(nodes), burden.Scales(nodes)
        probe = self.fill.start_probing(seconds, samples, rate)
        renewals = self.fill.start_renewing(1000000000, outstanding)
        begin = time.monotonic()
        try:
            wait_for("%d snapshots of every node" % snapshots,
                     lambda: all(len(watch.snapshots(node)) >= snapshots for node in nodes),
                     seconds - 5, 0.2)
        finally:
            end = time.monotonic()
            renewed = fill.stop(renewals)
            probed = fill.stop(probe)
            scales.stop()
            watch.stop()
        taken = {node.name: watch.snapshots(node) for node in nodes}
        rows = fill.read_samples(samples)
        every = [one for snapshots in taken.values() for one in snapshots]
        leader = self.region.leader().name
        return {"seconds": round(end - begin, 1), "renewals": pick(renewed), "probe": pick(probed),
                "snapshots": {node.name: [self._describe(node, one) for one in taken[node.name]]
                              for node in nodes},
                "peak KiB": {node.name: peak_of(scales, node, taken[node.name]) for node in nodes},
                "request ms, snapshots of all nodes": split(rows, every, begin, end),
                "request ms, snapshots of the leader": split(rows, taken[leader], begin, end)}

    @staticmethod
    def _describe(node, snapshot):
        begin, end, name = snapshot
        size = datadir.files(node.data_dir).get(name)
        return {"seconds": round(end - begin, 3), "bytes": size}

    # ---- starts ----

    def kill_and_start(self, node, seconds=60):
        """kill -9 of a whole node; returns the seconds from its next start to each stage."""
        self.region.leader()
        node.kill()
        time.sleep(0.5)
        begin = time.monotonic()
        node.start()
        wait_for("%s is ready" % node.name, lambda: is_ready(node), seconds, 0.02)
        ready_s = time.monotonic() - begin
        self.region.wait_serving(seconds, [node])
        return {"ready s": round(ready_s, 2), "serves s": round(time.monotonic() - begin, 2)}

    # ---- disk ----

    def disk_under_renewals(self, renewals, seconds):
        """The most each node took in the first and in the last half of so many renewals, or of as many
        as were done within so many seconds; and in each minute."""
        use, nodes = datadir.DiskUse(self.region.nodes), self.region.nodes
        begin = time.monotonic()
        process = self.fill.start_renewing(renewals)
        try:
            report = fill.result_by(process, seconds)
        finally:
            use.stop()
        end = time.monotonic()
        middle = middle_of(report["per_second"], begin)
        minutes = [(begin + 60 * i, min(begin + 60 * (i + 1), end))
                   for i in range(int((end - begin) / 60) + 1)]
        return {"renewals": pick(report), "seconds": round(end - begin, 1),
                "first half, most bytes": {node.name: use.most(node, begin, middle)
                                           for node in nodes},
                "last half, most bytes": {node.name: use.most(node, middle, end)
                                          for node in nodes},
                "renewals by minute": by_minute(report["per_second"]),
                "most bytes by minute": {node.name: [use.most(node, *span) for span in minutes]
                                         for node in nodes}}


def is_ready(node):
    try:
        return node.http("/actuator/health/readiness", timeout=1)[0] == 200
    except OSError:
        return False


def pick(report):
    """Without the long list."""
    return {key: value for key, value in report.items() if key != "per_second"}


def by_minute(per_second):
    return [sum(per_second[at:at + 60]) for at in range(0, len(per_second), 60)]


def middle_of(per_second, begin):
    """When half of the calls had been answered."""
    done, half = 0, sum(per_second) / 2
    for second, calls in enumerate(per_second):
        done += calls
        if done >= half:
            return begin + second + 1
    return begin


def peak_of(scales, node, snapshots):
    """The heaviest moment while one of the snapshots was being taken; one that was too short for the
    scales counts with what surrounds it."""
    peaks = [scales.peak(node, begin - 0.15, end + 0.15) for begin, end, _ in snapshots]
    return max((peak for peak in peaks if peak), key=lambda peak: peak["all"], default=None)


def split(samples, snapshots, begin, end):
    """Times of requests that were under way while a node took a snapshot, and of the others."""
    during, other = [], []
    for answered, took_ms in samples:
        if not begin <= answered <= end:
            continue
        sent = answered - took_ms / 1000
        hit = any(sent < last and answered > first for first, last, _ in snapshots)
        (during if hit else other).append(took_ms)
    return {name: {"n": len(values), "p50": fill.part(values, 0.5), "p99": fill.part(values, 0.99),
                   "p99.9": fill.part(values, 0.999), "max": max(values, default=0)}
            for name, values in (("during snapshots", during), ("otherwise", other))}


class Stopper:
    """Keeps an actor of a node stopped: each successor the supervisor starts is stopped too, as soon
    as it is seen. The rest of the node goes on."""

    def __init__(self, node, actor):
        self.node, self.actor, self.stopped = node, actor, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        last = None
        while not self._end.wait(0.005):
            pid = self.node.actor_pids().get(self.actor)
            if pid is None or pid == last:
                continue
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                continue
            last = pid
            self.stopped += 1

    def release(self):
        """The one that is stopped now is killed; its successor lives."""
        self._end.set()
        self._thread.join()
        pid = self.node.actor_pids().get(self.actor)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
