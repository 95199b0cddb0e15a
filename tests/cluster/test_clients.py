"""The examples in clients/: programs that have nothing of ours but the protos."""

import functools
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

import stubs
from calls import HELD
from certs import Certs
from cluster_case import ClusterCase, main
from region import ROOT, Region, clean_environment, wait_for

CLIENTS = os.path.join(ROOT, "clients")
TOKEN = "token-of-the-examples"
GRPC_OF_GO = "/usr/share/gocode/src/google.golang.org/grpc"


class Python:
    """How it is started."""

    def command(self):
        return ["/usr/bin/python3", "-B", os.path.join(CLIENTS, "python", "hold_lock.py")]


class Node:
    @classmethod
    def setUpClass(cls):
        folder = os.path.join(CLIENTS, "node")
        for program in ("node", "npm"):
            if not shutil.which(program):
                raise unittest.SkipTest("%s is missing" % program)
        if not os.path.isdir(os.path.join(folder, "node_modules", "@grpc", "grpc-js")):
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                                  cwd=folder, capture_output=True, text=True, timeout=300)
            if done.returncode != 0:
                raise unittest.SkipTest("npm ci failed: " + done.stderr[-300:])
        super().setUpClass()

    def command(self):
        return ["node", os.path.join(CLIENTS, "node", "hold_lock.js")]


@functools.lru_cache(maxsize=None)
def build_go():
    """Once in a run, beside the stubs: another run finds what Go keeps of it."""
    folder = os.path.join(stubs.FOLDER, "go")
    started = time.monotonic()
    subprocess.run([os.path.join(CLIENTS, "go", "build"), folder], check=True, timeout=600)
    print("built the Go example in %.1f s" % (time.monotonic() - started))
    return os.path.join(folder, "bin", "hold_lock")


class Go:
    """Built on the way, by what a newcomer would call."""

    @classmethod
    def setUpClass(cls):
        for need in ("go", "protoc-gen-go", "protoc-gen-go-grpc", GRPC_OF_GO):
            if not (shutil.which(need) or os.path.isdir(need)):
                raise unittest.SkipTest("%s is missing" % need)
        build_go()
        super().setUpClass()

    def command(self):
        return [build_go()]


class Example:
    """Starting one, and what it says."""

    def begin(self, name, seconds, node=None, options=(), **environment):
        return subprocess.Popen(
            [*self.command(), *options, (node or self.region.leader()).address, name, str(seconds)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**clean_environment(), "PYTHONPATH": stubs.FOLDER, **environment})

    def token_of(self, example):
        line = example.stdout.readline()
        match = re.match(r"token (\d+)$", line)
        self.assertTrue(match, line + (example.stdout.read() if not match else ""))
        return int(match.group(1))

    def end(self, example, code):
        said = example.communicate(timeout=60)[0]
        self.assertEqual(example.returncode, code, said)
        return said.strip()

    def lock(self, name):
        return self.region.leader().client.get(name)


class InPlaintext(Example):
    """What every example does; a class per language says how it is started."""

    N_NODES = 3

    def test_takes_keeps_and_gives_back(self):
        name = "%s/keeps" % type(self).__name__
        example = self.begin(name, 8, self.region.followers()[0])  # ttl 3 s: renewals keep it
        token = self.token_of(example)
        self.assertEqual([holder.token for holder in self.lock(name).holders], [token])
        self.assertEqual(self.region.leader().client.acquire(name, "other").result, HELD)
        self.assertEqual(self.end(example, 0), "done")
        self.assertEqual(len(self.lock(name).holders), 0)

    def test_says_that_it_did_not_get_it(self):
        name = "%s/held" % type(self).__name__
        self.assert_granted(self.region.leader().client.acquire(name, "other", ttl_ms=60000))
        self.assertIn("not acquired", self.end(self.begin(name, 1), 1))

    def test_notices_that_it_has_lost_it(self):
        """Stopped for longer than its lease, it must not work on, whatever it is answered."""
        name = "%s/lost" % type(self).__name__
        example = self.begin(name, 60)
        self.token_of(example)
        os.kill(example.pid, signal.SIGSTOP)
        wait_for("the lease to run out", lambda: not self.lock(name).holders, 30)
        taken = self.assert_granted(self.region.leader().client.acquire(name, "next"))
        os.kill(example.pid, signal.SIGCONT)
        self.assertIn("lost", self.end(example, 4))
        holder, = self.lock(name).holders
        self.assertEqual(holder.token, taken.token)

    def test_keeps_it_over_a_change_of_the_leader(self):
        name = "%s/leader" % type(self).__name__
        follower = self.region.followers()[0]
        example = self.begin(name, 10, follower)
        token = self.token_of(example)
        old = self.region.leader()
        old.kill()
        try:
            self.assertEqual(self.end(example, 0), "done")
        finally:
            old.start()
            self.region.wait_serving()
        self.assertGreater(self.assert_granted(
            self.region.leader().client.acquire(name, "after")).token, token)


class WithTls(Example):
    """How they prove who they are: a certificate or a token, by options or from the environment."""

    @classmethod
    def setUpClass(cls):
        cls.certs, cls.strangers = Certs(), Certs()
        access = cls.certs.path("access")
        with open(access, "w", encoding="utf-8") as file:
            file.write("grant tester admin \"\"\ngrant ci locker ci/\ntoken ci %s\n"
                       % hashlib.sha256(TOKEN.encode()).hexdigest())
        with open(cls.certs.path("token"), "w", encoding="utf-8") as file:
            file.write(TOKEN + "\n")
        cls.region = Region(1, certs=cls.certs, start=False, settings={
            "access": access, "tls": {"client_auth": "request"}})
        try:
            super().setUpClass()
            cls.region.start()
            cls.wait_serving()
        except BaseException:  # a language that is not there, too
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.certs.close()
        cls.strangers.close()

    def runs(self, name, options=(), **environment):
        """How one ends that works for a moment."""
        options = [word for option, file in options for word in (option, self.certs.path(file))]
        example = self.begin(name, 0.2, None, options, **environment)
        said = example.communicate(timeout=60)[0].strip()
        self.assertNotIn(TOKEN, said)
        return example.returncode, said

    CA = ("--cacert", "ca.crt")
    CERT = (("--cert", "tester.crt"), ("--key", "tester.key"))

    def test_a_certificate_by_options_or_environment(self):
        for options, environment in (
                ((self.CA, *self.CERT), {}),
                ((), {"LOCKCTL_CACERT": self.certs.path("ca.crt"),
                      "LOCKCTL_CERT": self.certs.path("tester.crt"),
                      "LOCKCTL_KEY": self.certs.path("tester.key"),
                      "LOCKCTL_SERVER_NAME": "n1"})):
            code, said = self.runs("any/lock", options, **environment)
            self.assertEqual((code, said.split()[-1]), (0, "done"), said)
        self.assertEqual(len(self.lock("any/lock").holders), 0)

    def test_a_token_from_a_file_or_the_environment(self):
        for options, environment in (
                ((self.CA, ("--token-file", "token")), {"LOCKCTL_TOKEN": "guess"}),
                ((self.CA,), {"LOCKCTL_TOKEN": TOKEN}),
                ((self.CA,), {"LOCKCTL_TOKEN_FILE": self.certs.path("token")})):
            code, said = self.runs("ci/lock", options, **environment)
            self.assertEqual((code, said.split()[-1]), (0, "done"), said)

    def test_what_is_refused_is_told(self):
        stranger = self.strangers.path("ca.crt")
        for name, options, environment, wanted, word in (
                ("out/lock", (self.CA,), {"LOCKCTL_TOKEN": TOKEN}, 5, "PERMISSION_DENIED"),
                ("ci/lock", (self.CA,), {"LOCKCTL_TOKEN": "guess"}, 5, "UNAUTHENTICATED"),
                ("ci/lock", (self.CA,), {}, 5, "UNAUTHENTICATED"),
                ("ci/lock", self.CERT, {"LOCKCTL_CACERT": stranger}, 3, "refused"),
                ("ci/lock", (), {"LOCKCTL_TOKEN": TOKEN}, 2, "cacert"),
                ("ci/lock", (self.CA, self.CERT[0]), {}, 2, "together")):
            code, said = self.runs(name, options, **environment)
            self.assertEqual(code, wanted, said)
            self.assertIn(word, said)


class PythonInPlaintext(Python, InPlaintext, ClusterCase):
    pass


class NodeInPlaintext(Node, InPlaintext, ClusterCase):
    pass


class GoInPlaintext(Go, InPlaintext, ClusterCase):
    pass


class PythonWithTls(Python, WithTls, ClusterCase):
    pass


class NodeWithTls(WithTls, Node, ClusterCase):
    pass


class GoWithTls(WithTls, Go, ClusterCase):
    pass


if __name__ == "__main__":
    main()
