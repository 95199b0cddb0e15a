"""What the processes of a node weigh: the share of memory that is theirs (PSS), so that what several
of them map counts once; and whose work a machine does."""

import os
import resource
import threading
import time

import region


def pss_kib(pid):
    """0 if the process has ended."""
    try:
        with open("/proc/%d/smaps_rollup" % pid) as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def pids_of(node):
    """Name -> pid of all processes of a node: its supervisor and the actors, or just the node if they
    are its threads."""
    if region.HOST == "threads":
        return {"node": node.process.pid}
    return {**node.actor_pids(), "supervisor": node.process.pid}


def weigh(node):
    """Name -> KiB, with the sum as "all"."""
    weights = {name: pss_kib(pid) for name, pid in pids_of(node).items()}
    weights["all"] = sum(weights.values())
    return weights


class Scales(threading.Thread):
    """Weighs nodes again and again; .samples holds (time on CLOCK_MONOTONIC, node's name, weights)."""

    def __init__(self, nodes, per_second=10):
        super().__init__(daemon=True)
        self.nodes, self.pause, self.samples = nodes, 1 / per_second, []
        self._end = threading.Event()
        self.start()

    def run(self):
        while not self._end.wait(self.pause):
            for node in self.nodes:
                self.samples.append((time.monotonic(), node.name, weigh(node)))

    def stop(self):
        self._end.set()
        self.join()
        return self.samples

    def peak(self, node, begin=0, end=float("inf")):
        """The heaviest sample of a node, by its sum; None if there is none."""
        found = [weights for when, name, weights in self.samples
                 if name == node.name and begin <= when <= end]
        return max(found, key=lambda weights: weights["all"], default=None)


class Strangers:
    """Tells how much of what this machine did since then was not done by nodes, this test, or those it
    started and that have ended."""

    def __init__(self, nodes):
        self.nodes = nodes
        self._machine, self._own = machine_seconds(), self._own_seconds()

    def _own_seconds(self):
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return (sum(one.ru_utime + one.ru_stime for one in used)
                + sum(seconds_of(pid) for node in self.nodes for pid in pids_of(node).values()))

    def share(self):
        """Of all work, from 0 to 1."""
        machine = machine_seconds() - self._machine
        own = self._own_seconds() - self._own
        return max(0.0, 1 - own / machine) if machine > 0 else 0.0


def machine_seconds():
    """Processor time that was used, or that was promised and not given."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, soft, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def seconds_of(pid):
    """Processor time of a process; 0 if it has ended."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
