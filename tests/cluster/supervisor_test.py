"""lockmgrd and five actors that can do nothing but live and die (sup_test_actor.c).

    supervisor_test.py LOCKMGRD TEST_ACTOR

Each test has a folder of its own with a bin directory, into which the supervisor and, under five
names, the test actor are copied: the supervisor looks for its actors beside itself.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ACTORS = ("raft", "lock", "gateway", "frontend", "health")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOCKMGRD, TEST_ACTOR = (os.path.abspath(path) for path in sys.argv[1:3])


def wait_for(what, condition, seconds=20.0, pause=0.01):
    """Returns what condition() returned when it was true, and how long that took."""
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value, time.monotonic() - begin
        if time.monotonic() - begin > seconds:
            raise AssertionError("not within %g s: %s" % (seconds, what))
        time.sleep(pause)


def state_of(pid):
    """Letter of the process's state; "" if there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def is_alive(pid):
    return state_of(pid) not in ("", "Z", "X")


class Node:
    def __init__(self, folder, run_name="run"):
        self.folder, self.bin = folder, os.path.join(folder, "bin")
        self.run_dir, self.data_dir = os.path.join(folder, run_name), os.path.join(folder, "data")
        self.config = os.path.join(folder, run_name + ".cfg")
        self.log_path = os.path.join(folder, run_name + ".log")
        self.process = None
        os.makedirs(self.data_dir, exist_ok=True)
        if not os.path.exists(self.bin):
            os.makedirs(self.bin)
            shutil.copy(LOCKMGRD, os.path.join(self.bin, "lockmgrd"))
            for actor in ACTORS:
                shutil.copy(TEST_ACTOR, os.path.join(self.bin, "lockmgr-" + actor))
        with open(self.config, "w") as file:
            file.write('node = "n1"; peer_auth = "trusted";\n'
                       'peers = ( { name = "n1"; host = "127.0.0.1"; } );\n'
                       'data_dir = "%s"; run_dir = "%s";\n' % (self.data_dir, self.run_dir))

    def start(self, *arguments, env=None):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [os.path.join(self.bin, "lockmgrd"), "--config", self.config, *arguments],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        return self

    def status(self):
        try:
            with open(os.path.join(self.run_dir, "status")) as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def child(self, name):
        """The actor's row in the status file."""
        status = self.status()
        return next(row for row in status["children"] if row["name"] == name) if status else None

    def pids(self):
        return {row["name"]: row["pid"] for row in self.status()["children"]}

    def is_serving(self):
        status = self.status()
        if self.process.poll() is not None:
            raise AssertionError("ended with %d:\n%s" % (self.process.returncode, self.log()))
        return (status and status["pid"] == self.process.pid and status["mode"] == "serving" and
                all(row["state"] == "ready" for row in status["children"]))

    def serve(self):
        self.start()
        wait_for("the node serves", self.is_serving)
        return self

    def wait_restarted(self, name, old_pid, seconds=20.0):
        def restarted():
            row = self.child(name)
            return row["state"] == "ready" and row["pid"] != old_pid and row
        return wait_for("%s is replaced" % name, restarted, seconds)

    def tell(self, actor, word):
        with open(os.path.join(self.data_dir, actor + ".behave"), "w") as file:
            file.write(word + "\n")

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def stop(self, seconds=15):
        self.process.terminate()
        return self.process.wait(seconds)


class SupervisorTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="lmsup", dir="/tmp")
        self.nodes, self.bad_before = [], self.bad()

    def bad(self):
        result = self._outcome.result
        return len(result.failures) + len(result.errors)

    def tearDown(self):
        pids = []
        for node in self.nodes:
            status = node.status() or {"children": []}
            pids += [row["pid"] for row in status["children"] if row["pid"]]
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        wait_for("no orphans", lambda: not any(is_alive(pid) for pid in pids), 10)
        if self.bad() != self.bad_before:
            for node in self.nodes:
                if os.path.exists(node.log_path):
                    print("---- %s\n%s" % (node.log_path, node.log()[-6000:]), flush=True)
        shutil.rmtree(self.folder)

    def node(self, run_name="run"):
        self.nodes.append(Node(self.folder, run_name))
        return self.nodes[-1]

    # ---- start ----

    def test_five_children_and_nothing_more(self):
        node = self.node().serve()
        pids = node.pids()
        with open("/proc/%d/task/%d/children" % (node.process.pid, node.process.pid)) as file:
            children = sorted(int(pid) for pid in file.read().split())
        self.assertEqual(children, sorted(pids.values()))
        for actor, pid in pids.items():
            self.assertEqual(os.readlink("/proc/%d/exe" % pid),
                             os.path.join(node.bin, "lockmgr-" + actor))

    def test_children_inherit_no_descriptors(self):
        node = self.node().serve()
        held = [os.path.join(node.run_dir, "lock"), "signalfd"]
        for actor, pid in node.pids().items():
            links = [os.readlink("/proc/%d/fd/%s" % (pid, fd))
                     for fd in os.listdir("/proc/%d/fd" % pid)]
            self.assertFalse([link for link in links for name in held if name in link], actor)

    def test_everybody_meets_whom_it_needs(self):
        node = self.node().serve()
        for line in ("lock meets raft, start 1", "clients meets lock, start 1",
                     "peers meets gateway, start 1", "gateway meets lock, start 1",
                     "raft meets health, start 1", "health hears mode 1"):
            wait_for(line, lambda line=line: line in node.log(), 5)

    def test_status_and_modes_of_the_run_directory(self):
        node = self.node().serve()
        self.assertEqual(os.stat(node.run_dir).st_mode & 0o777, 0o700)
        status = node.status()
        self.assertEqual((status["node"], status["pid"], status["region"]),
                         ("n1", node.process.pid, "us-east"))
        self.assertEqual(node.stop(), 0)
        self.assertEqual(node.status()["mode"], "stopped")

    # ---- death and life ----

    def test_kill_9_of_one_restarts_only_it(self):
        node = self.node().serve()
        for actor in ACTORS:
            before = node.pids()
            os.kill(before[actor], signal.SIGKILL)
            row, _ = node.wait_restarted(actor, before[actor])
            self.assertEqual((row["restarts"], row["start"]), (1, 2))
            after = node.pids()
            self.assertEqual({name for name in ACTORS if before[name] != after[name]}, {actor})
        self.assertEqual(node.status()["mode"], "serving")
        self.assertIn("killed by signal 9", node.log())
        wait_for("the new lock is known", lambda: "clients meets lock, start 2" in node.log(), 5)

    def test_s9_stopped_child_is_replaced_within_a_second_and_a_half(self):
        node = self.node().serve()
        for actor in ("lock", "frontend"):
            pid = node.pids()[actor]
            os.kill(pid, signal.SIGSTOP)
            _, took = node.wait_restarted(actor, pid)
            print("%s replaced after %.2f s" % (actor, took), flush=True)
            self.assertLess(took, 4.0)  # 1.5 s on a machine with nothing else to do
        self.assertIn("it did not answer pings", node.log())

    def test_s9_supervisor_or_whole_node_frozen_kills_nobody(self):
        node = self.node().serve()
        pids = node.pids()
        for frozen in ([], list(pids.values())):
            for pid in [node.process.pid, *frozen]:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(2.5)
            for pid in [node.process.pid, *frozen]:
                os.kill(pid, signal.SIGCONT)
            time.sleep(1.5)
            self.assertEqual(node.pids(), pids)
            self.assertTrue(node.is_serving())

    def test_s9_blocking_io_is_waited_for(self):
        node = self.node()
        node.tell("raft", "block 3000")
        node.serve()
        self.assertEqual(node.child("raft")["restarts"], 0)

    def test_stuck_at_start_is_found_by_pings(self):
        node = self.node()
        node.tell("lock", "hang")
        node.start()
        wait_for("it is killed", lambda: "lock (pid" in node.log() and
                 "it did not answer pings" in node.log(), 10)
        node.tell("lock", "")
        wait_for("the node serves", node.is_serving)

    def test_obituary_has_last_words(self):
        node = self.node().serve()
        node.tell("gateway", "check")
        pid = node.pids()["gateway"]
        os.kill(pid, signal.SIGKILL)
        wait_for("an obituary", lambda: re.search(
            r"gateway ended: .*(exit status 70 \(broken invariant\)|signal 6 \(Aborted\))"
            r"; last words: .*told to fail", node.log()), 10)  # the latter with sanitizers
        node.tell("gateway", "")
        wait_for("the node serves", node.is_serving)

    def test_too_many_deaths_take_the_node_out_of_service(self):
        node = self.node().serve()
        node.tell("health", "exit 71")
        os.kill(node.pids()["health"], signal.SIGKILL)
        wait_for("not ready", lambda: node.status()["mode"] == "starting", 20)
        self.assertTrue(node.child("health")["troubled"])
        wait_for("raft gives leadership away", lambda: "raft drains" in node.log(), 5)
        self.assertEqual(node.child("raft")["restarts"], 0)
        self.assertEqual(node.stop(), 0)

    def test_strangers_are_reaped(self):
        node = self.node()
        node.tell("lock", "orphan")
        node.serve()
        time.sleep(0.8)
        with open("/proc/%d/task/%d/children" % (node.process.pid, node.process.pid)) as file:
            self.assertEqual(len(file.read().split()), 5, "neither zombies nor strangers")
        self.assertEqual(node.child("lock")["restarts"], 0)

    # ---- final exit classes ----

    def test_final_exit_classes_end_the_node_with_their_code(self):
        for code in (64, 78, 79):
            node = self.node("run%d" % code)
            node.tell("raft", "exit %d" % code)
            node.start()
            self.assertEqual(node.process.wait(20), code)
            self.assertEqual(node.child("raft")["restarts"], 0)

    # ---- one at a time ----

    def test_second_supervisor_on_the_same_run_directory(self):
        first = self.node().serve()
        second = Node(self.folder)
        second.start()
        self.assertEqual(second.process.wait(10), 75)
        self.assertIn("in use by the supervisor with pid %d" % first.process.pid, first.log())
        self.assertTrue(first.is_serving())

    def test_s17_second_supervisor_with_the_same_data_waits_for_the_first(self):
        first = self.node("one").serve()
        second = self.node("two").start()
        wait_for("its raft has been sent away", lambda: "raft ended" in second.log(), 10)
        time.sleep(1)
        self.assertIsNone(second.process.poll())
        self.assertTrue(first.is_serving())
        self.assertIn("exit status 75 (try later); last words: the data directory is in use",
                      second.log())
        self.assertEqual(first.stop(), 0)
        wait_for("it takes over", second.is_serving, 30)

    def test_s17_no_second_raft_while_the_first_hangs_unreaped(self):
        """A stopped process takes SIGKILL at once, so the unreapable one is in core_restart_test;
        here: never two of an actor at any time, while it is killed over and over."""
        node = self.node().serve()
        exe = os.path.join(node.bin, "lockmgr-raft")
        for _ in range(4):
            os.kill(node.pids()["raft"], signal.SIGKILL)
            end = time.monotonic() + 0.6
            while time.monotonic() < end:
                self.assertLessEqual(self.count_running(exe), 1)
        wait_for("the node serves", node.is_serving)

    @staticmethod
    def count_running(exe):
        n = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                n += os.readlink("/proc/%s/exe" % pid) == exe and is_alive(int(pid))
            except OSError:
                pass
        return n

    # ---- the end ----

    def test_kill_9_of_the_supervisor_leaves_no_orphans(self):
        node = self.node().serve()
        pids = node.pids()
        node.process.kill()
        node.process.wait()
        _, took = wait_for("all have gone", lambda: not any(map(is_alive, pids.values())), 5)
        print("gone after %.3f s" % took, flush=True)
        node.serve()
        self.assertEqual(node.child("lock")["start"], 2, "the tally goes on")
        self.assertEqual(node.child("lock")["restarts"], 0)

    def test_orderly_stop(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            node = self.node("run%d" % number).serve()
            pids = node.pids()
            begin = time.monotonic()
            node.process.send_signal(number)
            self.assertEqual(node.process.wait(15), 0)
            self.assertLess(time.monotonic() - begin, 5)
            self.assertFalse([pid for pid in pids.values() if state_of(pid)])
            order = re.findall(r"(raft drains|\w+ is asked to stop)", node.log())
            self.assertEqual(order[0], "raft drains")
            self.assertEqual(sorted(order[1:5]),
                             sorted(name + " is asked to stop"
                                    for name in ("gateway", "clients", "peers", "health")))
            self.assertEqual(order[5:], ["lock is asked to stop", "raft is asked to stop"])

    def test_stubborn_children_are_killed_within_ten_seconds(self):
        node = self.node()
        for actor in ("gateway", "lock", "raft"):
            node.tell(actor, "stubborn")
        node.serve()
        begin = time.monotonic()
        self.assertEqual(node.stop(), 0)
        self.assertLess(time.monotonic() - begin, 10.5)
        self.assertIn("it did not stop in time", node.log())

    def test_stubborn_children_have_no_more_than_the_configured_time(self):
        node = self.node()
        with open(node.config, "a") as file:
            file.write("stop_timeout_ms = 2000;\n")
        for actor in ("gateway", "lock", "raft"):
            node.tell(actor, "stubborn")
        node.serve()
        begin = time.monotonic()
        self.assertEqual(node.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5, "far less than the usual ten")
        self.assertIn("it did not stop in time", node.log())

    def test_the_share_of_processors_is_told(self):
        node = self.node()
        node.serve()
        told = re.search(r"may use ([0-9.]+) of (\d+) processors \(.*\): threads for the disk ([234]),",
                         node.log())
        self.assertTrue(told, node.log())
        self.assertLessEqual(float(told[1]), int(told[2]))
        with open("/proc/%d/environ" % node.child("raft")["pid"], "rb") as file:
            self.assertIn(b"UV_THREADPOOL_SIZE=" + told[3].encode(), file.read().split(b"\0"))

    def test_stop_right_after_start(self):
        node = self.node().start()
        wait_for("it is up", node.status)
        self.assertEqual(node.stop(), 0)

    # ---- the service manager ----

    def listen(self, address):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(address)
        manager.settimeout(10)
        return manager

    def hear(self, manager, word):
        """What was said up to and with a datagram that begins so."""
        said, end = [], time.monotonic() + 20
        while not said or not said[-1].startswith(word):
            self.assertLess(time.monotonic(), end, said)
            said.append(manager.recv(4096).decode())
        return said

    def check_told(self, address, shown):
        manager = self.listen(address)
        node = self.node().start(env={"NOTIFY_SOCKET": shown, "WATCHDOG_USEC": "400000"})
        said = self.hear(manager, "READY=1")
        self.assertTrue(node.is_serving(), "ready is said when all actors are")
        self.assertEqual([word for word in said if word != "WATCHDOG=1"],
                         ["STATUS=not all actors are ready", "READY=1\nSTATUS=all actors are ready"])
        for name, pid in node.pids().items():
            with open("/proc/%d/environ" % pid, "rb") as file:
                environ = file.read()
            self.assertFalse(b"NOTIFY_SOCKET" in environ or b"WATCHDOG" in environ, name)
        return node, manager

    def test_the_service_manager_is_told(self):
        address = os.path.join(self.folder, "notify")
        node, manager = self.check_told(address, address)
        for _ in range(3):
            self.hear(manager, "WATCHDOG=1")
        os.kill(node.process.pid, signal.SIGSTOP)
        manager.settimeout(1)
        with self.assertRaises(TimeoutError, msg="a supervisor that stands still shows no life"):
            while True:
                manager.recv(4096)
        os.kill(node.process.pid, signal.SIGCONT)
        manager.settimeout(10)
        node.process.terminate()
        self.hear(manager, "STOPPING=1")
        self.assertEqual(node.process.wait(15), 0)

    def test_a_service_manager_that_reads_late_misses_nothing(self):
        address = os.path.join(self.folder, "notify")
        manager = self.listen(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
            others.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    others.sendto(b"others", address)
        node = self.node().start(env={"NOTIFY_SOCKET": address})
        wait_for("the node serves", node.is_serving)
        self.hear(manager, "READY=1")
        self.assertEqual(node.stop(), 0)
        self.hear(manager, "STOPPING=1")

    def test_the_service_manager_behind_an_abstract_name(self):
        name = "lockmgr-test-%d" % os.getpid()
        node, manager = self.check_told("\0" + name, "@" + name)
        manager.close()
        self.assertEqual(node.stop(), 0)

    def test_an_unusable_address_of_the_service_manager_is_no_obstacle(self):
        for address in ("vsock:2:1", "/" + 120 * "x"):
            node = self.node().start(env={"NOTIFY_SOCKET": address})
            wait_for("the node serves", node.is_serving)
            self.assertIn("is not used: Invalid argument", node.log())
            self.assertEqual(node.stop(), 0)
        node = self.node().start(env={"NOTIFY_SOCKET": "/nobody/listens"})
        wait_for("the node serves", node.is_serving)
        self.assertEqual(node.stop(), 0)

    def test_sighup_is_ignored(self):
        node = self.node().serve()
        node.process.send_signal(signal.SIGHUP)
        wait_for("it says so", lambda: "SIGHUP is ignored" in node.log(), 5)
        self.assertTrue(node.is_serving())

    # ---- hostile surroundings ----

    def test_run_directory_that_others_may_enter(self):
        node = self.node()
        os.mkdir(node.run_dir, 0o755)
        self.assertEqual(node.start().process.wait(10), 78)
        self.assertIn("must be private: chmod 700", node.log())

    def test_run_directory_that_is_a_link(self):
        node = self.node()
        os.mkdir(node.run_dir + ".real", 0o700)
        os.symlink(node.run_dir + ".real", node.run_dir)
        self.assertEqual(node.start().process.wait(10), 78)
        self.assertIn("not a link to one", node.log())

    def test_leftovers_in_the_run_directory(self):
        node = self.node()
        os.mkdir(node.run_dir, 0o700)
        import socket
        for name in ("supervisor.sock", "raft.1", "lock.77"):
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(os.path.join(node.run_dir, name))
        for name, text in (("raft.page", "x"), ("tally", "raft=oops\n=\nlock=40\nboot_id=12"),
                           ("status", "{"), ("notes", "of a person")):
            with open(os.path.join(node.run_dir, name), "w") as file:
                file.write(text)
        node.start()
        wait_for("a new status", lambda: self.reads(node) and node.is_serving())
        self.assertEqual(node.child("lock")["start"], 41)
        self.assertEqual(node.child("raft")["start"], 1)
        names = os.listdir(node.run_dir)
        self.assertNotIn("lock.77", names)
        self.assertIn("notes", names)

    @staticmethod
    def reads(node):
        try:
            return node.status()
        except ValueError:
            return None

    def test_missing_executable(self):
        node = self.node()
        os.remove(os.path.join(node.bin, "lockmgr-lock"))
        self.assertEqual(node.start().process.wait(10), 71)
        self.assertIn("lockmgr-lock", node.log())

    # ---- the command line ----

    def run_it(self, *arguments, **variables):
        return subprocess.run([LOCKMGRD, *arguments], capture_output=True, text=True, timeout=20,
                              env={**os.environ, **variables})

    def test_check(self):
        node = self.node()
        done = self.run_it("--check", "--config", node.config)
        self.assertEqual((done.returncode, done.stdout), (0, "configuration is valid\n"))
        self.assertFalse(os.path.exists(node.run_dir))
        done = self.run_it("--check", "--config", node.config, LOCKMGR_REGION_ID="no good",
                           LOCKMGR_SERVICE_REGION_PORT="8080")
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        self.assertEqual(len(done.stderr.splitlines()), 2, done.stderr)
        self.assertIn("LOCKMGR_REGION_ID: region.id must be", done.stderr)

    def test_examples_are_valid_and_the_full_one_shows_all_defaults(self):
        deploy = os.path.join(ROOT, "deploy")
        places = {"LOCKMGR_DATA_DIR": self.folder, "LOCKMGR_RUN_DIR": self.folder + "/run"}
        for name in os.listdir(deploy):
            if name.endswith(".cfg"):
                done = self.run_it("--check", "--config", os.path.join(deploy, name), **places)
                self.assertEqual((done.returncode, done.stderr), (0, ""), name)
        with open(os.path.join(ROOT, "supervisor", "sup_config_rows.c")) as file:
            source = file.read()
        rows = re.findall(r'(?:TEXT|NUMBER)\("([\w.]+)",\s*\w+,\s*(?:[\w]+,\s*[\w]+,\s*(\d+)\)|'
                          r'"([^"]*)")', source)
        names = re.findall(r'NAMES\(\s*"([\w.]+)",\s*\w+,\s*"([^"]*)"', source)
        self.assertEqual(len(names), source.count("    NAMES("))
        with open(os.path.join(deploy, "lockmgr.cfg")) as file:
            text = file.read()
        self.assertGreater(len(rows), 18)
        for path, number, word in rows:
            shown = re.escape(number or '"%s"' % word)
            if path == "replica_count" or not (number or word):
                shown = ".+"  # no default: the file shows what it looks like
            self.assertRegex(text, r"\b%s = %s;" % (path.split(".")[-1], shown))
        for path, words in names:
            shown = ", ".join('"%s"' % word for word in words.split(","))
            self.assertIn("%s = [%s];" % (path.split(".")[-1], shown), text)

    def test_wrong_configuration_ends_a_start_too(self):
        done = self.run_it("--config", "/nowhere.cfg")
        self.assertEqual(done.returncode, 78)
        self.assertIn("/nowhere.cfg: cannot be read", done.stderr)

    def test_usage(self):
        for arguments in (["--frob"], ["--config"], ["extra"], ["--check=yes"]):
            self.assertEqual(self.run_it(*arguments).returncode, 64, arguments)
        done = self.run_it("--help")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stdout.startswith("usage: lockmgrd"))
        done = self.run_it("--version")
        self.assertRegex(done.stdout, r"^lockmgrd \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
