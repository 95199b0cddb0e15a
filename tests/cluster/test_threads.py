"""Nodes whose actors are threads of one process: what differs from processes is how they end."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import region
from cluster_case import ClusterCase, main
from region import BIN, Region, clean_environment, wait_for, write_config

region.HOST = "threads"

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


def ptrace(request, tid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return libc.ptrace(request, tid, None, None)


def stop_thread(pid, name):
    """Stops one thread of a process, as a debugger would. Returns its id; None if that is refused."""
    for entry in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, entry), encoding="utf-8") as file:
            if file.read().strip() != name:
                continue
        tid = int(entry)
        if ptrace(PTRACE_SEIZE, tid) != 0:
            return None
        ptrace(PTRACE_INTERRUPT, tid)
        os.waitpid(tid, WALL)
        return tid
    raise AssertionError("no thread of %d is called %s" % (pid, name))


class Threads(ClusterCase):
    def setUp(self):
        type(self).region = Region(1, start=False)
        self.node = self.region.node(1)

    def tearDown(self):
        self.region.close()

    def start(self):
        self.node.start()
        self.region.wait_serving()

    def test_a_node_is_one_process(self):
        self.start()
        self.assertEqual(self.node.children(), [])
        self.assertEqual(os.path.basename(os.readlink("/proc/%d/exe" % self.node.process.pid)),
                         "lockmgr-node")
        self.assertEqual(set(self.node.wait_actors().values()), {self.node.process.pid})
        left = os.listdir(self.node.run_dir)
        self.assertFalse([name for name in left if ".sock" in name or name.endswith(".1")], left)
        for actor in ("raft", "lock", "health"):
            self.assertIn(" %s: " % actor, self.node.log(), "lines carry the actor's name")
        self.assertEqual(self.node.stop(), 0)

    def test_s17_an_actor_that_fails_ends_the_node_with_its_class(self):
        self.start()
        thief = self.region.add_node()
        config = thief.config()
        config.update(node="n1", data_dir=self.node.data_dir)
        config["peers"][0]["grpc_port"] = thief.grpc_port
        write_config(thief.config_path, config)
        thief.start(config_path=thief.config_path)
        self.assertEqual(thief.wait_exit(), 75)
        log = thief.log()
        self.assertIn("raft ended", log)
        self.assertIn("is in use by another process", log)
        self.assertIn("frontend ended", log, "the others are stopped in order")
        self.assertNotIn("restart 1", log)
        self.assert_granted(self.node.client.acquire("second", "a"))

    def test_a_busy_port_ends_the_node_with_75(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", self.node.region_port))
            other.listen()
            self.node.start()
            self.assertEqual(self.node.wait_exit(), 75)
        self.assertIn("cannot be listened on", self.node.log())
        self.assertIn("frontend ended", self.node.log())

    def test_s17_a_stuck_actor_ends_the_node(self):
        for victim in ("raft", "lock", "clients"):
            with self.subTest(thread=victim):
                self.start()
                held = self.node.client.acquire("stuck/" + victim, "a", ttl_ms=60000)
                tid = stop_thread(self.node.process.pid, victim)
                if tid is None:
                    self.skipTest("this machine lets nobody stop a single thread")
                begin = time.monotonic()
                # A dead thread is a zombie until its tracer has looked at it.
                reaper = threading.Thread(target=os.waitpid, args=(tid, WALL), daemon=True)
                reaper.start()
                self.assertEqual(self.node.wait_exit(10), 75)
                print("the node ended %.2f s after its %s had stopped"
                      % (time.monotonic() - begin, victim))
                self.assertIn("did not answer pings", self.node.log())
                self.start()
                info = self.node.client.get("stuck/" + victim)
                self.assertEqual([(h.owner, h.token) for h in info.holders], [("a", held.token)])
                self.assertEqual(self.node.stop(), 0)

    def test_one_left_behind_may_come_to_its_end(self):
        self.start()
        pid = self.node.process.pid
        tid = stop_thread(pid, "gateway")
        if tid is None:
            self.skipTest("this machine lets nobody stop a single thread")
        os.kill(pid, signal.SIGTERM)
        wait_for("the gateway is given up",
                 lambda: "gateway: it did not stop in time" in self.node.log(), 15, 0.002)
        ptrace(PTRACE_DETACH, tid)  # while lock and raft are still stopping
        self.assertEqual(self.node.wait_exit(15), 0, self.node.log()[-2000:])
        self.assertEqual(self.node.log().count("gateway ended"), 1)

    def start_and_stop_after(self, seconds):
        """Returns the exit code; the time is counted from when signals are awaited."""
        begun = self.node.log().count("run directory")
        self.node.start()
        wait_for("the start of the node",
                 lambda: self.node.log().count("run directory") > begun, 20, 0.002)
        time.sleep(seconds)
        return self.node.stop()

    def test_a_node_may_be_stopped_at_any_moment_of_its_start(self):
        empty = self.node.data_dir + ".empty"
        shutil.copytree(self.node.data_dir, empty)
        for form in (True, False):
            if not form:
                self.start()
                self.assertEqual(self.node.stop(), 0)
            for step in range(20):
                if form:
                    shutil.rmtree(self.node.data_dir)
                    shutil.copytree(empty, self.node.data_dir)
                with self.subTest(forms=form, ms=3 * step):
                    self.assertEqual(self.start_and_stop_after(0.003 * step), 0,
                                     self.node.log()[-2000:])
        self.start()
        self.assert_granted(self.node.client.acquire("after", "a"))

    def test_an_actor_may_fail_at_any_moment_of_the_start(self):
        """That of raft meets that of the frontend, which opens its ports at the same time."""
        self.start()
        self.assertEqual(self.node.stop(), 0)
        with open(os.path.join(self.node.data_dir, "identity"), "r+b") as file:
            file.truncate(10)
        for turn in range(20):
            with self.subTest(turn=turn):
                self.node.start()
                self.assertEqual(self.node.wait_exit(), 79, self.node.log()[-2000:])

    def test_data_are_the_same_in_both_hosts(self):
        self.start()
        held = self.assert_granted(self.node.client.acquire("kept", "a", ttl_ms=60000))
        self.assertEqual(self.node.stop(), 0)
        region.HOST = "processes"
        self.addCleanup(setattr, region, "HOST", "threads")
        self.start()
        self.assertEqual(len(self.node.wait_actors()), 5)
        info = self.node.client.get("kept")
        self.assertEqual([(h.owner, h.token) for h in info.holders], [("a", held.token)])
        self.assertEqual(self.node.stop(), 0)

    def test_the_command_line_is_that_of_lockmgrd(self):
        def run(*arguments):
            return subprocess.run([os.path.join(BIN, "lockmgrd"), "--threads", *arguments],
                                  capture_output=True, text=True, timeout=20,
                                  env=clean_environment())
        write_config(self.node.config_path, self.node.config())
        checked = run("--check", "--config", self.node.config_path)
        self.assertEqual((checked.returncode, checked.stdout), (0, "configuration is valid\n"))
        write_config(self.node.config_path, {**self.node.config(), "unheard_of": 3})
        for arguments in (("--check",), ()):
            wrong = run(*arguments, "--config", self.node.config_path)
            self.assertEqual(wrong.returncode, 78)
            self.assertEqual(wrong.stderr.count("unheard_of"), 1, wrong.stderr)
        self.assertEqual(run("--what").returncode, 64)

    def test_without_lockmgr_node_it_says_so(self):
        alone = os.path.join(self.region.root, "alone")
        os.makedirs(alone)
        os.link(os.path.join(BIN, "lockmgrd"), os.path.join(alone, "lockmgrd")) \
            if os.stat(BIN).st_dev == os.stat(alone).st_dev else \
            subprocess.run(["cp", os.path.join(BIN, "lockmgrd"), alone], check=True)
        write_config(self.node.config_path, self.node.config())
        done = subprocess.run([os.path.join(alone, "lockmgrd"), "--threads", "--config",
                               self.node.config_path], capture_output=True, text=True, timeout=20,
                              env=clean_environment())
        self.assertEqual(done.returncode, 71)
        self.assertIn("lockmgr-node", done.stderr)

    def test_a_node_ends_in_time_at_sigterm_in_the_midst_of_calls(self):
        self.start()
        waiting = self.node.client.acquire("stop", "a", ttl_ms=60000)
        self.assert_granted(waiting)
        waiter = threading.Thread(target=self.wait_for_it, daemon=True)
        waiter.start()
        wait_for("a waiter", lambda: self.node.client.get("stop").waiter_count == 1, 10)
        begin = time.monotonic()
        self.assertEqual(self.node.stop(), 0)
        self.assertLess(time.monotonic() - begin, 10.5)
        waiter.join(10)

    def wait_for_it(self):
        import grpc
        try:
            self.node.client.acquire("stop", "b", wait_ms=30000, timeout=40)
        except grpc.RpcError:
            pass


if __name__ == "__main__":
    main()
