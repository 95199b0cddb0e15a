#!/usr/bin/python3
"""lockbench against a node, its echo server and nobody. What it measures here means nothing."""

import json
import os
import signal
import subprocess
import xml.etree.ElementTree as ElementTree

import region
from cluster_case import ClusterCase, main

PROGRAM = os.path.join(region.BIN, "lockbench")


class Lockbench(ClusterCase):
    N_NODES = 1

    def lockbench(self, *arguments, code=0, text=None):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60,
                              input=text)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def load(self, workload, *more):
        out = self.lockbench("run", "--endpoints", self.region.addresses(), "--workload", workload,
                             "--seconds", "1", "--warmup", "0.2", "--json", *more)
        run = json.loads(out)
        self.assertEqual(run["errors"], 0, run["error"])
        self.assertGreater(run["n"], 0)
        self.assertEqual(self.region.lockctl("list", "-o", "json").stdout.count("lockbench/"), 0)
        return run

    def test_cycles(self):
        picture = os.path.join(self.region.root, "cycles.svg")
        run = self.load("cycles", "--workers", "100", "--leader", "--svg", picture)
        self.assertEqual(set(run["latency_us"]), {"cycle", "acquire", "release"})
        self.assertAlmostEqual(run["per_second"], run["n"], delta=1)
        self.assertEqual(ElementTree.parse(picture).getroot().get("viewBox"), "0 0 760 420")

    def test_cycles_that_are_due(self):
        run = self.load("cycles", "--workers", "8", "--rate", "50")
        self.assertEqual(run["n"], 50)

    def test_renewals(self):
        self.assertEqual(set(self.load("renew", "--workers", "4")["latency_us"]), {"cycle", "renew"})

    def test_keep_alives_of_many_sessions(self):
        for workload in "sessions", "session-calls":
            with self.subTest(workload):
                self.keep_many_alive(workload)

    def keep_many_alive(self, workload):
        run = self.load(workload, "--workers", "8", "--sessions", "300", "--rate", "100")
        self.assertEqual(set(run["latency_us"]), {"cycle", "keep-alive"})
        self.assertEqual(run["n"], 100)
        self.assertEqual(self.region.lockctl("session", "list", "-o", "simple").stdout, "")

    def test_one_lock_for_all(self):
        run = self.load("hot", "--workers", "16")
        latency = run["latency_us"]
        self.assertGreater(latency["acquire"]["p50"], latency["release"]["p50"], "nobody waited")

    def test_locks_to_choose_from(self):
        self.load("cycles", "--workers", "8", "--names", "3")

    def test_table_and_chart(self):
        lines = "".join(json.dumps(self.load("cycles", "--workers", "2")) + "\n" for _ in range(2))
        table = self.lockbench("table", text=lines)
        self.assertIn("| cycles/s, 2 workers to any |", table)
        rows = json.loads(self.lockbench("table", "--json", text=lines))
        self.assertEqual([len(row["lockmgr"]["values"]) for row in rows], [2, 2, 2])
        picture = self.lockbench("chart", "--workers", "2", text=lines)
        self.assertTrue(ElementTree.fromstring(picture).tag.endswith("svg"))
        self.assertIn("no run is like that", self.lockbench("chart", "--workers", "3", code=64, text=lines))
        self.assertIn("line 1 is no JSON", self.lockbench("table", code=64, text="{"))

    def test_echo(self):
        ports = region.Ports()
        self.addCleanup(ports.close)
        address = "127.0.0.1:%d" % ports.take()
        server = subprocess.Popen([PROGRAM, "echo", "--endpoints", address])
        self.addCleanup(server.kill)
        out = self.lockbench("run", "--target", "echo", "--endpoints", address, "--workers", "200",
                             "--seconds", "1", "--warmup", "1", "--json")
        self.assertGreater(json.loads(out)["n"], 100)
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(20), 0)
        self.lockbench("run", "--target", "echo", "--endpoints", address, "--seconds", "1", code=75)

    def test_wrong_command_lines(self):
        for arguments, why in ((["dance"], "no such job"), ([], "usage"),
                               (["run", "--target", "x"], "no such target"),
                               (["run", "--workload", "x"], "it has: cycles hot sessions session-calls renew"),
                               (["run", "--target", "etcd", "--workload", "hot"], "it has: cycles renew"),
                               (["run", "--target", "etcd", "--names", "3"], "for lockmgr alone"),
                               (["run", "--workers", "0"], "a number from 1 to 2048"),
                               (["run", "--seconds", "1x"], "a number from")):
            self.assertIn(why, self.lockbench(*arguments, code=64))


if __name__ == "__main__":
    main()
