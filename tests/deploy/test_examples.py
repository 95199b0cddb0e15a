"""The example configurations of deploy/, as they are, with their own ports and names of hosts: each is
started, and locks are taken. In a network of the test's own. LM_BIN is where the programs are."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import alone
from unit_file import Restrictions, read_unit, values

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEPLOY = os.path.join(ROOT, "deploy")
BIN = os.environ.get("LM_BIN") or os.path.join(ROOT, "build", "bin")
UNIT = os.path.join(DEPLOY, "systemd", "lockmgr.service")
ACTORS = ("raft", "lock", "gateway", "frontend", "health")


def wait_for(what, condition, seconds=60, pause=0.05):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (seconds, what))
        time.sleep(pause)


class Node:
    """One started from an example; what the machine decides comes from the environment."""

    def __init__(self, folder, name, example, address="127.0.0.1", child=None, **settings):
        self.folder, self.address = os.path.join(folder, name), address
        self.run_dir = os.path.join(self.folder, "run")
        os.makedirs(self.folder)
        self.log_path = os.path.join(self.folder, "log")
        environment = {"LOCKMGR_DATA_DIR": os.path.join(self.folder, "data"),
                       "LOCKMGR_RUN_DIR": self.run_dir, "LOCKMGR_LISTEN": address, **settings}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "lockmgrd"), "--config", os.path.join(DEPLOY, example)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=child,
                env={**os.environ, **environment})

    def lockctl(self, *arguments, check=True):
        done = subprocess.run([os.path.join(BIN, "lockctl"), "--endpoints", self.address + ":9090",
                               *arguments], capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError("%s: %d %s%s\n%s" % (" ".join(arguments), done.returncode, done.stdout,
                                                      done.stderr, self.log()[-4000:]))
        return done

    def is_healthy(self):
        assert self.process.poll() is None, self.log()[-4000:]
        return self.lockctl("--timeout", "2s", "-q", "health", check=False).returncode == 0

    def pids(self):
        with open(os.path.join(self.run_dir, "status"), encoding="utf-8") as file:
            return {row["name"]: row["pid"] for row in json.load(file)["children"]}

    def log(self):
        with open(self.log_path, errors="replace", encoding="utf-8") as file:
            return file.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


class Nodes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="lmexample", dir="/tmp")
        self.nodes = []

    def tearDown(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        shutil.rmtree(self.folder)

    def node(self, *arguments, **more):
        self.nodes.append(Node(self.folder, *arguments, **more))
        return self.nodes[-1]

    def key(self):
        path = os.path.join(self.folder, "peer.key")
        with open(path, "w", encoding="utf-8") as file:
            file.write(os.urandom(32).hex() + "\n")
        os.chmod(path, 0o400)
        return path

    def check_serves(self):
        """Every node takes a lock that all then see, and all stop in order."""
        for node in self.nodes:
            wait_for("%s serves" % node.folder, node.is_healthy)
        for number, node in enumerate(self.nodes):
            node.lockctl("acquire", "example/%d" % number, "--owner", "me")
        for node in self.nodes:
            got = node.lockctl("get", "example/0", "-o", "json").stdout
            self.assertIn('"me"', got)
        for node in self.nodes:
            self.assertEqual(node.stop(), 0, node.log()[-2000:])


class Examples(Nodes):
    def test_single_node(self):
        self.node("n1", "single-node.cfg")
        self.check_serves()

    def test_every_key(self):
        """It names three nodes and another region."""
        alone.name_hosts({"lockmgr-%d.example" % n: "127.0.0.%d" % n for n in (1, 2, 3)})
        for n in (1, 2, 3):
            self.node("n%d" % n, "lockmgr.cfg", address="127.0.0.%d" % n, LOCKMGR_NODE="n%d" % n)
        self.check_serves()

    def test_region_of_three_machines(self):
        alone.name_hosts({"lockmgr-%d.example" % n: "127.0.0.%d" % n for n in (1, 2, 3)})
        for n in (1, 2, 3):
            self.node("n%d" % n, "region-node.cfg", address="127.0.0.%d" % n, LOCKMGR_NODE="n%d" % n)
        self.check_serves()

    def test_compose_one_region(self):
        key = self.key()
        alone.name_hosts({"n%d" % n: "127.0.0.%d" % n for n in (1, 2, 3)})
        for n in (1, 2, 3):
            self.node("n%d" % n, "compose/region.cfg", address="127.0.0.%d" % n, LOCKMGR_NODE="n%d" % n,
                      LOCKMGR_PEER_KEY=key)
        self.check_serves()

    def test_compose_three_regions(self):
        key, names = self.key(), ("us-east", "us-west", "eu-central")
        alone.name_hosts({name: "127.0.0.%d" % n for n, name in enumerate(names, 1)})
        for n, name in enumerate(names, 1):
            self.node(name, "compose/%s.cfg" % name, address="127.0.0.%d" % n, LOCKMGR_PEER_KEY=key)

        def sees_both(node):
            said = node.lockctl("regions", "-o", "json", check=False).stdout
            return said.count('"reachable": true') == 2 or said.count('"reachable":true') == 2
        for node in self.nodes:
            wait_for("%s reaches both others" % node.folder, lambda node=node: sees_both(node))
        for node in self.nodes:
            node.lockctl("run", "mine", "--", "true")
            self.assertEqual(node.stop(), 0)


class UnderSystemd(Nodes):
    """The configuration of the package, under the restrictions of the unit; a system call beyond them
    would end who calls it."""

    def fill(self, node, count):
        for number in range(count):
            node.lockctl("acquire", "many/%d/%s" % (number, 200 * "x"), "--owner", "me")

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_actors_work_under_the_restrictions_of_the_unit(self):
        node = self.node("n1", "single-node.cfg", child=Restrictions(UNIT),
                         LOCKMGR_RAFT_SNAPSHOT_BYTES="4096",
                         LOCKMGR_ACTUATOR_EXPOSURE_INCLUDE="health,info,prometheus,metrics,loggers,raft,locks,env")
        wait_for("it serves", node.is_healthy)
        pids = node.pids()
        for pid in (node.process.pid, *pids.values()):
            with open("/proc/%d/status" % pid, encoding="utf-8") as file:
                said = file.read()
            self.assertIn("Seccomp:\t2\n", said)
            self.assertIn("NoNewPrivs:\t1\n", said)
        self.fill(node, 30)
        for path in "health", "info", "prometheus", "metrics", "env", "raft", "locks":
            with urllib.request.urlopen("http://127.0.0.1:8080/actuator/" + path, timeout=10) as answer:
                self.assertEqual(answer.status, 200, path)
        node.lockctl("session", "open", "--owner", "me")
        for actor in ACTORS:
            before = node.pids()[actor]
            os.kill(before, signal.SIGKILL)
            wait_for("%s is replaced" % actor, lambda: node.pids()[actor] not in (0, before))
            wait_for("it serves again", node.is_healthy)
        self.fill(node, 5)
        self.assertEqual(node.stop(), 0)
        log = node.log()
        self.assertNotIn("killed by signal 31", log)
        self.assertEqual(log.count("killed by signal"), len(ACTORS), log[-4000:])
        self.assertNotIn("Operation not permitted", log)
        self.assertRegex(log, r"the snapshot of entry \d+ is taken")

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_what_the_unit_refuses_ends_who_tries(self):
        for code, ended in (("pass", 0),
                            ("import os; os.setuid(0)", -signal.SIGSYS),
                            ("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", -signal.SIGSYS),
                            ("import mmap; mmap.mmap(-1, 4096, prot=7)", -signal.SIGSYS)):
            done = subprocess.run([sys.executable, "-c", code], preexec_fn=Restrictions(UNIT), timeout=60,
                                  capture_output=True)
            self.assertEqual(done.returncode, ended, (code, done.stderr))

    def test_the_package_starts_the_configuration_that_is_tested(self):
        start = values(read_unit(UNIT)["Service"], "ExecStart")
        self.assertEqual(start, ["/usr/sbin/lockmgrd --config /etc/lockmgr/lockmgr.cfg"])
        with open(os.path.join(ROOT, "cmake", "Package.cmake"), encoding="utf-8") as file:
            self.assertIn("server /etc/lockmgr ${deploy}/single-node.cfg lockmgr.cfg", file.read())


if __name__ == "__main__":
    alone.enter()
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
