"""lockctl against a real node: exit codes, output forms, and what run does with its child."""

import json
import os
import signal
import subprocess
import time

from cluster_case import ClusterCase, main
from region import BIN, wait_for
from slow_way import SlowWay

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
                      ["get"], ["list", "a", "b"], ["ping"], ["ping", "x" * 513, "-c", "1"], ["acquire", "a", "-s", "-x"],
                      ["acquire", "a", "-n", "-w", "1s"], ["acquire", "a", "-o", "xml"],
                      ["acquire", "a", "--quiet=1"], ["acquire", "x" * 513],
                      ["session"], ["session", "nonsense"], ["session", "open", "a"], ["session", "show"],
                      ["session", "close", "a"], ["session", "open", "--ttl", "999ms"],
                      ["acquire", "a", "--session", "b"], ["run", "a", "--ttl", "999ms", "--", "true"],
                      ["acquire", "a", "--session", "b", "--secret", "c", "--owner", "d"],
                      ["acquire", "a", "--session", "b", "--secret", "c", "--ttl", "5s"],
                      ["acquire", "a", "--session", "b", "--secret-file", "/no/such/file"]):
            with self.subTest(words):
                self.assertTrue(self.expect(2, *words).stderr)

    def test_ping_takes_and_gives_back(self):
        lines = [json.loads(line) for line in self.expect(
            0, "ping", "pinged", "-c", "3", "-i", "10ms", "-o", "json").stdout.splitlines()]
        self.assertEqual(len(lines), 4)
        for one, next_one in zip(lines, lines[1:3]):
            self.assertLess(int(one["token"]), int(next_one["token"]))
            self.assertLess(one["released"], next_one["granted"])
        self.assertEqual([(one["name"], one["attempts"], one["lost"]) for one in lines[:3]],
                         [("pinged", 2, False)] * 3)
        self.assertEqual((lines[3]["locks"], lines[3]["lostHolds"], lines[3]["unansweredCalls"]), (3, 0, 0))
        self.assertGreater(lines[3]["longestMs"], 10)
        self.assertIn("3 locks, 0 lost", self.expect(0, "ping", "pinged", "-c", "3", "-i", "0").stdout)
        self.assertEqual(self.waiters("pinged"), 0)

    def test_a_service_far_away_is_reached(self):
        way = SlowWay(self.region.node(1).grpc_port, 0.35)
        try:
            self.expect(0, "acquire", "far", "--timeout", "20s", endpoints="127.0.0.1:%d" % way.port)
        finally:
            way.stop()

    def test_ping_says_what_has_no_answer_and_ends_when_told_to(self):
        process = subprocess.Popen([LOCKCTL, "--endpoints", NOBODY, "ping", "a", "--timeout", "200ms"],
                                   stdout=subprocess.PIPE, text=True)
        self.assertRegex(process.stdout.readline(), r"^\S+Z acquire has no answer: ")
        process.terminate()
        self.assertIn("0 locks, 0 lost", process.communicate(timeout=10)[0])
        self.assertEqual(process.returncode, 3)

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

    # ---- sessions ----

    def open_session(self, *options):
        """(id, where its secret is)."""
        path = os.path.join(self.region.root, "secret")
        shown = self.expect(0, "session", "open", "-o", "json", "--secret-file", path, *options).stdout
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertNotIn("secret", json.loads(shown))
        return json.loads(shown)["sessionId"], ("--secret-file", path)

    def test_a_session_holds_locks_until_it_is_closed(self):
        one, secret = self.open_session("--ttl", "20s", "--owner", "me")
        for name in ("in/a", "in/b"):
            self.expect(0, "acquire", name, "--session", one, *secret)
        self.expect(1, "acquire", "in/a", "--owner", "other")
        self.assertEqual(self.expect(0, "get", "in/a", "-o", "simple").stdout.strip(), "me")
        shown = json.loads(self.expect(0, "session", "show", one, "-o", "json").stdout)["session"]
        self.assertEqual((shown["holdCount"], shown["client"], shown["ttlMs"]), (2, "me", "20000"))
        self.assertEqual(sorted(hold["name"] for hold in shown["holds"]), ["in/a", "in/b"])
        self.assertIn(one, self.expect(0, "session", "list", "-o", "simple").stdout.split())
        self.expect(0, "release", "in/a", "--session", one, *secret, "--hold-id", shown["holds"][0]["holdId"])
        self.expect(0, "acquire", "in/a", "--owner", "other")
        self.expect(5, "session", "close", one, "--secret", "0" * 32)
        self.expect(0, "session", "close", one, *secret)
        self.expect(4, "session", "close", one, *secret)
        self.expect(4, "acquire", "in/c", "--session", one, *secret)
        self.expect(0, "acquire", "in/b", "--owner", "other")

    def test_the_secret_comes_from_the_environment_too(self):
        opened = json.loads(self.expect(0, "session", "open", "-o", "json").stdout)
        environment = dict(os.environ, LOCKCTL_SECRET=opened["secret"],
                           LOCKCTL_ENDPOINTS=self.region.addresses())
        done = subprocess.run([LOCKCTL, "session", "close", opened["sessionId"]], env=environment,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done)

    def test_keepalive_keeps_it_and_what_others_hold_in_it(self):
        one, secret = self.open_session("--ttl", "4s")
        self.expect(0, "acquire", "kept/a", "--session", one, *secret)
        process = self.begin("session", "keepalive", one, *secret)
        time.sleep(5)
        self.assertIsNone(process.poll())
        self.expect(1, "acquire", "kept/a", "--owner", "other")
        process.terminate()
        self.assertEqual(process.wait(20), 128 + signal.SIGTERM)
        process.communicate()
        self.expect(0, "session", "keepalive", one, *secret, "--once")
        self.expect(0, "acquire", "kept/a", "--owner", "other", "-w", "10s")
        self.expect(4, "session", "keepalive", one, *secret, "--once")

    def test_keepalive_ends_with_4_when_the_session_ends(self):
        one, secret = self.open_session("--ttl", "4s")
        process = self.begin("session", "keepalive", one, *secret)
        time.sleep(1)
        self.expect(0, "session", "close", one, *secret)
        self.assertEqual(process.wait(20), 4)
        self.assertIn("lost: ended", process.communicate()[1])

    def test_run_in_a_session_leaves_it_open(self):
        one, secret = self.open_session("--ttl", "20s")
        script = "echo $LOCK_SESSION"
        done = self.expect(0, "run", "in/run", "--session", one, *secret, "--", "sh", "-c", script)
        self.assertEqual(done.stdout.strip(), one)
        self.assertEqual(self.expect(0, "get", "in/run", "-o", "simple").stdout.strip(), "")
        self.expect(0, "session", "close", one, *secret)

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

    def test_a_child_has_signals_as_any_other(self):
        done = self.expect(0, "run", "run/p", "--", "sh", "-c", "yes | head -n 1")
        self.assertEqual((done.stdout, done.stderr), ("y\n", ""), "a broken pipe is the end, not an error")
        self.expect(7, "run", "run/p", "--", "sh", "-c", "exit 7", timeout=20,
                    preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))

    def test_signals_go_to_the_child(self):
        process = self.begin("run", "run/d", "--", "sh", "-c",
                             "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.terminate()
        self.assertEqual(process.wait(20), 5)
        process.communicate()

    def test_run_waits_and_renews_while_its_child_runs(self):
        first = self.begin("run", "run/e", "--ttl", "4s", "--", "sh", "-c", "echo on; sleep 7; echo off")
        self.assertEqual(first.stdout.readline(), "on\n")
        second = self.begin("run", "run/e", "--", "echo", "second")
        wait_for("the second in the queue", lambda: self.waiters("run/e") == 1)
        time.sleep(4.5)  # longer than the lease
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

    def test_a_signal_ends_a_wait_and_its_session(self):
        self.expect(0, "acquire", "run/h", "--owner", "me", "--ttl", "60s")
        process = self.begin("run", "run/h", "--", "true")
        wait_for("a waiter", lambda: self.waiters("run/h") == 1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(20), 128 + signal.SIGINT)
        process.communicate()
        wait_for("an empty queue", lambda: self.waiters("run/h") == 0)

    def test_a_session_that_is_closed_under_run_ends_its_child(self):
        process = self.begin("run", "run/i", "--ttl", "3s", "--", "sh", "-c", "echo $LOCK_SESSION; exec sleep 60")
        one = process.stdout.readline().strip()
        self.assertIn(one, self.expect(0, "session", "list", "-o", "simple").stdout.split())
        self.region.lockctl("session", "show", one)
        process.send_signal(signal.SIGSTOP)
        wait_for("the session has expired", lambda: self.ctl("session", "show", one).returncode != 0, 20)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(20), 4)
        self.assertIn("is lost", process.communicate()[1])

    def test_a_lost_lock_ends_the_child_and_run_with_4(self):
        process = self.begin("run", "run/g", "--ttl", "1s", "--kill-after", "300ms", "--", "sh", "-c",
                             "trap '' TERM; echo ready; while :; do sleep 0.05; done")
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.region.kill_node(1)
        self.assertEqual(process.wait(30), 4)
        self.assertIn("is lost", process.communicate()[1])


if __name__ == "__main__":
    main()
