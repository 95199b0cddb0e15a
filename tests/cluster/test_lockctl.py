"""lockctl against a real node: exit codes, output forms, and what run does with its child."""

import json
import os
import signal
import subprocess
import time

from cluster_case import ClusterCase, main
from region import BIN, wait_for

LOCKCTL = os.path.join(BIN, "lockctl")
NOBODY = "127.0.0.1:9"


class Lockctl(ClusterCase):
    N_NODES = 1

    def setUp(self):
        if not self.region.nodes[0].runs():
            self.region.restart_node(1)
            self.region.wait_serving()

    def ctl(self, *arguments, **options):
        return self.region.lockctl(*arguments, **options)

    def expect(self, code, *arguments, **options):
        done = self.ctl(*arguments, **options)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def begin(self, *arguments):
        return subprocess.Popen([LOCKCTL, "--endpoints", self.region.addresses(), *arguments],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def waiters(self, name):
        return json.loads(self.expect(0, "get", name, "-o", "json").stdout)["lock"]["waiterCount"]

    # ---- words ----

    def test_usage_errors_end_with_2(self):
        for words in (["nonsense"], ["acquire"], ["acquire", "a", "b"], ["acquire", "a", "--ttl", "x"],
                      ["acquire", "a", "--ttl"], ["--form"], ["release", "a"], ["run", "a"],
                      ["get"], ["list", "a", "b"], ["acquire", "a", "-s", "-x"],
                      ["acquire", "a", "-n", "-w", "1s"], ["acquire", "a", "-o", "xml"],
                      ["acquire", "a", "--quiet=1"], ["acquire", "x" * 513]):
            with self.subTest(words):
                self.assertTrue(self.expect(2, *words).stderr)

    def test_help_and_version(self):
        self.assertIn("usage: lockctl", self.expect(0, "--help").stdout)
        self.assertRegex(self.expect(0, "version").stdout, r"^lockctl \d+\.\d+\.\d+\n$")

    def test_endpoints_come_from_the_environment_too(self):
        environment = dict(os.environ, LOCKCTL_ENDPOINTS=self.region.addresses())
        done = subprocess.run([LOCKCTL, "health"], env=environment, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done)

    def test_the_first_endpoint_that_answers_is_enough(self):
        self.expect(0, "get", "a", endpoints=NOBODY + "," + self.region.addresses())

    # ---- locks ----

    def test_acquire_renew_release_in_every_form(self):
        taken = json.loads(self.expect(0, "acquire", "forms", "--ttl", "20s", "-o", "json").stdout)
        self.assertIsInstance(taken["token"], str)
        self.assertGreater(int(taken["token"]), 0)
        self.assertEqual(taken["ttlMs"], "20000")
        who = ["--owner", taken["owner"], "--hold-id", taken["holdId"]]
        renewed = self.expect(0, "renew", "forms", *who, "--ttl", "25s", "-o", "yaml").stdout
        self.assertIn('ttlMs: "25000"', renewed)
        self.assertEqual(self.expect(0, "get", "forms", "-o", "simple").stdout.strip(), taken["owner"])
        self.assertIn(taken["owner"], self.expect(0, "list", "form", "-o", "table").stdout)
        released = self.expect(0, "release", "forms", *who, "-o", "simple").stdout
        self.assertEqual(released.strip(), taken["token"])
        self.expect(4, "release", "forms", *who)
        self.expect(4, "renew", "forms", *who)

    def test_a_lock_that_is_held_is_1_or_what_was_asked_for(self):
        self.expect(0, "acquire", "held", "--owner", "me")
        self.expect(1, "acquire", "held", "--owner", "you")
        self.expect(1, "acquire", "held", "--owner", "you", "-w", "300ms")
        self.expect(9, "acquire", "held", "--owner", "you", "-n", "-E", "9")
        self.expect(0, "acquire", "held", "--owner", "me")

    def test_shared_holders_stand_together(self):
        self.expect(0, "acquire", "shared", "-s", "--owner", "a")
        self.expect(0, "acquire", "shared", "-s", "--owner", "b")
        self.expect(1, "acquire", "shared", "-x", "--owner", "c")
        listed = json.loads(self.expect(0, "list", "shared", "-o", "json").stdout)
        self.assertEqual(listed[0]["holderCount"], 2)

    def test_list_goes_over_pages_and_stops_at_its_limit(self):
        for i in range(12):
            self.expect(0, "acquire", "page/%02d" % i, "-q")
        names = self.expect(0, "list", "page/", "-o", "simple").stdout.split()
        self.assertEqual(names, ["page/%02d" % i for i in range(12)])
        names = self.expect(0, "list", "page/", "--limit", "5", "-o", "simple").stdout.split()
        self.assertEqual(len(names), 5)

    def test_nobody_there_is_3(self):
        for words in (["get", "a"], ["acquire", "a"], ["status"], ["health"], ["regions"],
                      ["run", "a", "--", "true"]):
            with self.subTest(words):
                self.expect(3, "--timeout", "500ms", *words, endpoints=NOBODY)

    # ---- run ----

    def test_run_passes_the_grant_and_ends_with_the_code_of_its_child(self):
        script = "echo $LOCK_NAME $LOCK_TOKEN $LOCK_OWNER $LOCK_HOLD_ID; exit 7"
        words = self.expect(7, "run", "run/a", "--", "sh", "-c", script).stdout.split()
        self.assertEqual(words[0], "run/a")
        self.assertGreater(int(words[1]), 0)
        self.assertEqual(len(words), 4)
        self.assertEqual(self.expect(0, "get", "run/a", "-o", "simple").stdout.strip(), "")

    def test_run_of_what_cannot_be_run(self):
        self.expect(127, "run", "run/b", "--", "/no/such/program")
        self.expect(126, "run", "run/b", "--", "/etc/passwd")
        self.expect(0, "run", "-n", "run/b", "--", "true")

    def test_a_child_that_ends_by_a_signal_is_128_and_its_number(self):
        self.expect(128 + signal.SIGKILL, "run", "run/c", "--", "sh", "-c", "kill -9 $$")

    def test_signals_go_to_the_child(self):
        process = self.begin("run", "run/d", "--", "sh", "-c",
                             "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.terminate()
        self.assertEqual(process.wait(20), 5)
        process.communicate()

    def test_run_waits_and_renews_while_its_child_runs(self):
        first = self.begin("run", "run/e", "--ttl", "1s", "--", "sh", "-c", "echo on; sleep 3; echo off")
        self.assertEqual(first.stdout.readline(), "on\n")
        second = self.begin("run", "run/e", "--", "echo", "second")
        wait_for("the second in the queue", lambda: self.waiters("run/e") == 1)
        time.sleep(1.5)  # longer than the lease
        self.assertIsNone(second.poll())
        self.assertEqual(first.wait(20), 0)
        self.assertEqual(second.communicate(timeout=20)[0], "second\n")
        first.communicate()

    def test_a_wait_that_is_interrupted_leaves_the_queue(self):
        self.expect(0, "acquire", "run/f", "--owner", "me", "--ttl", "60s")
        process = self.begin("run", "run/f", "--", "true")
        wait_for("a waiter", lambda: self.waiters("run/f") == 1)
        process.kill()
        process.communicate()
        wait_for("an empty queue", lambda: self.waiters("run/f") == 0)

    def test_a_lost_lock_ends_the_child_and_run_with_4(self):
        process = self.begin("run", "run/g", "--ttl", "1s", "--kill-after", "300ms", "--", "sh", "-c",
                             "trap '' TERM; echo ready; while :; do sleep 0.05; done")
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.region.kill_node(1)
        self.assertEqual(process.wait(30), 4)
        self.assertIn("is lost", process.communicate()[1])


if __name__ == "__main__":
    main()
