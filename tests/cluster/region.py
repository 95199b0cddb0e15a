"""A region of real processes on loopback for tests, and nothing left of it afterwards.

    with Region(3) as region:
        region.wait_serving()
        region.node(1).client.acquire("a/lock", "me")
        region.kill_node(region.leader().number)

Invariants
  P1  Ports come from a block that no other test of this machine has at the same time, outside the
      range from which the kernel takes ports for outgoing connections, and never 9090, 9091, 8080.
  P2  When a Region ends, by whatever way, no process of it is left. If it had to kill one that
      should have been gone, it says so by failing.
  P3  All waiting has a limit; what is measured is returned, never asserted here.
  P4  An actor that ended by an assertion, a refused system call or a fault of its own makes the
      Region fail at its end, whatever the test has seen: restarts must not hide it.
  P5  LM_HOST=threads makes every node one process with its actors as threads. What a test says of
      actors then is what the node's status file says of them; single ones cannot be killed.
"""

import atexit
import fcntl
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
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.get("LM_BIN") or os.path.join(ROOT, "build", "bin")
ACTORS = ("raft", "lock", "gateway", "frontend", "health")
FULL = os.environ.get("LM_TEST_FULL") == "1"
# How nodes live: "processes", or "threads" (one process per node, lockmgrd --threads).
HOST = os.environ.get("LM_HOST") or "processes"

PORT_LOW, PORT_BLOCK, PORT_BLOCKS = 20000, 60, 200


class Trouble(AssertionError):
    """Something that should have happened within its limit did not."""


def wait_for(what, condition, seconds=30, pause=0.05):
    """Waits until condition() is true and returns what it returned. Raises Trouble at the limit."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Trouble("not within %g s: %s" % (seconds, what))
        time.sleep(pause)


# Exit classes 70 and 71, signals other than KILL, reports of the sanitizers.
OWN_FAULT = re.compile(r"exit status 7[01]\b|killed by signal (?!9\b)|runtime error:|Sanitizer:")


# ---- processes -----------------------------------------------------------------------------------

def processes_of(root):
    """Pids whose command line names something below root."""
    found, wanted = [], root.encode() + b"/"
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as file:
                arguments = file.read().split(b"\0")
        except OSError:
            continue
        if any(wanted in argument for argument in arguments) and b"--guard" not in arguments:
            found.append(int(entry))
    return found


def is_alive(pid):
    """A zombie is dead: it runs nothing, it only waits to be counted."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def kill_all_of(root):
    """Kills every process below root; returns those that were alive."""
    alive = [pid for pid in processes_of(root) if is_alive(pid)]
    for pid in alive:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return alive


def guard(root):
    """Outlives a test that is killed, and takes its processes and files away."""
    os.setsid()
    sys.stdin.buffer.read()
    if os.path.exists(root):
        for _ in range(20):
            if not kill_all_of(root):
                break
            time.sleep(0.1)
        if not os.environ.get("LM_KEEP"):
            shutil.rmtree(root, ignore_errors=True)


# ---- ports ---------------------------------------------------------------------------------------

def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Ports:
    """A block of ports, reserved by a file lock for as long as this object lives."""

    def __init__(self):
        folder = os.path.join(tempfile.gettempdir(), "lockmgr-test-ports-%d" % os.getuid())
        os.makedirs(folder, exist_ok=True)
        begin = os.getpid() % PORT_BLOCKS
        for step in range(PORT_BLOCKS):
            block = (begin + step) % PORT_BLOCKS
            self._file = open(os.path.join(folder, str(block)), "w")
            self._next = PORT_LOW + block * PORT_BLOCK
            self._end = self._next + PORT_BLOCK
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                continue
            if all(is_free(port) for port in range(self._next, self._next + 15)):
                return
            self._file.close()
        raise Trouble("no block of ports is free")

    def take(self):
        while self._next < self._end:
            self._next += 1
            if is_free(self._next - 1):
                return self._next - 1
        raise Trouble("the block of ports is used up")

    def close(self):
        self._file.close()


# ---- configuration -------------------------------------------------------------------------------

def render(value, indent=0):
    """A value as libconfig writes it: dict, list of dicts, text, number."""
    pad = "    " * indent
    if isinstance(value, dict):
        rows = "".join("%s    %s = %s;\n" % (pad, key, render(one, indent + 1))
                       for key, one in value.items())
        return "{\n%s%s}" % (rows, pad)
    if isinstance(value, (list, tuple)):
        return "( %s )" % ", ".join(render(one, indent + 1) for one in value)
    if isinstance(value, str):
        return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')
    return str(value)


def write_config(path, config):
    with open(path, "w", encoding="utf-8") as file:
        for key, value in config.items():
            file.write("%s = %s;\n" % (key, render(value)))


def merged(base, changes):
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


# ---- a node --------------------------------------------------------------------------------------

class Node:
    """One node: its files, its supervisor, a client of its own."""

    def __init__(self, region, number):
        ports = region.ports
        self.region, self.number, self.name = region, number, "n%d" % number
        self.grpc_port, self.region_port = ports.take(), ports.take()
        self.actuator_port = ports.take()
        self.raft_port = 0
        self.folder = os.path.join(region.root, self.name)
        self.run_dir = os.path.join(self.folder, "run")
        self.data_dir = os.path.join(self.folder, "data")
        self.config_path = os.path.join(self.folder, "node.cfg")
        self.log_path = os.path.join(self.folder, "log")
        self.process, self._client, self._last_log = None, None, ""
        os.makedirs(self.data_dir)
        os.makedirs(self.run_dir)
        os.chmod(self.run_dir, 0o700)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.grpc_port

    @property
    def client(self):
        import calls
        if self._client is None:
            certs = self.region.certs
            self._client = calls.Client(self.address, certs and certs.credentials("tester"))
        return self._client

    def security(self):
        """What the configuration says of it: the region's certificates, or trust."""
        certs = self.region.certs
        if not certs:
            return {"peer_auth": "trusted"}
        return {"tls": {"ca": certs.path("ca.crt"), "cert": certs.path(self.name + ".crt"),
                        "key": certs.path(self.name + ".key")}}

    def config(self):
        service = {"grpc_port": self.grpc_port, "region_port": self.region_port,
                   "actuator_port": self.actuator_port}
        return merged({
            "node": self.name, "data_dir": self.data_dir, "run_dir": self.run_dir,
            "listen": "127.0.0.1", **self.security(),
            "region": {"id": self.region.region_id},
            "service": merged(service, {"raft_port": self.raft_port or None}),
            "peers": [merged({"name": node.name, "host": "127.0.0.1", "grpc_port": node.grpc_port},
                             {"raft_port": node.raft_port or None})
                      for node in self.region.nodes],
        }, self.region.settings)

    def start(self, config_path=None, environment=None):
        """Starts the supervisor; does not wait for anything."""
        assert not self.runs(), "%s runs already" % self.name
        if config_path is None:
            write_config(self.config_path, self.config())
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "lockmgrd"), *(["--threads"] if HOST == "threads" else []),
                 "--config", config_path or self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**clean_environment(), **(environment or {})})

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def actor_pids(self):
        """Name -> pid of the supervisor's living children; of threads: their process's."""
        if HOST == "threads":
            return self._actor_threads()
        found = {}
        for pid in self.children():
            try:
                name = os.path.basename(os.readlink("/proc/%d/exe" % pid))
            except OSError:
                continue
            found[name.removeprefix("lockmgr-")] = pid
        return found

    def _actor_threads(self):
        try:
            with open(os.path.join(self.run_dir, "status"), encoding="utf-8") as file:
                status = json.load(file)
        except OSError:
            return {}
        if not self.runs() or status["pid"] != self.process.pid:
            return {}
        return {child["name"]: child["pid"] for child in status["children"]
                if child["state"] == "ready"}

    def children(self):
        try:
            with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
                return [int(pid) for pid in file.read().split() if is_alive(int(pid))]
        except (OSError, AttributeError):
            return []

    def wait_actors(self, seconds=20):
        """Waits for all five; returns their pids."""
        wait_for("five actors of %s" % self.name, lambda: len(self.actor_pids()) == 5, seconds)
        return self.actor_pids()

    def kill_actor(self, name):
        assert HOST == "processes", "a thread cannot be killed"
        os.kill(self.actor_pids()[name], signal.SIGKILL)

    def kill(self):
        """kill -9 of the supervisor; returns when all processes of the node are gone."""
        pids = self.children()
        self.process.kill()
        self.process.wait()
        wait_for("the actors of %s have gone with their supervisor" % self.name,
                 lambda: not any(is_alive(pid) for pid in pids), 10, 0.005)

    def stop(self, seconds=15):
        """SIGTERM; returns the exit code."""
        pids = self.children()
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Trouble("%s did not stop within %g s of SIGTERM" % (self.name, seconds)) from None
        left = [pid for pid in pids if is_alive(pid)]
        if left:
            raise Trouble("%s ended and left processes behind: %s" % (self.name, left))
        return code

    def wait_exit(self, seconds=20):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Trouble("%s did not end within %g s" % (self.name, seconds)) from None

    def signal_all(self, number):
        """To the supervisor first, so that it does not see its actors stopped."""
        for pid in [self.process.pid, *self.children()]:
            os.kill(pid, number)

    def pause(self):
        self.signal_all(signal.SIGSTOP)

    def resume(self):
        self.signal_all(signal.SIGCONT)

    def status(self, timeout=2):
        """GetStatus of this node, or None if it does not answer."""
        import grpc
        try:
            return self.client.status(timeout)
        except grpc.RpcError:
            return None

    def http(self, path, method="GET", headers=None, timeout=5):
        """(status, headers, body) of a page of the actuator."""
        url = "http://127.0.0.1:%d%s" % (self.actuator_port, path)
        wanted = urllib.request.Request(url, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(wanted, timeout=timeout) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def json(self, path):
        """(status, object) of a page of the actuator."""
        status, _, body = self.http(path)
        return status, json.loads(body)

    def metric(self, name, **labels):
        """Sum of the samples of a metric that have these labels; None if there is none."""
        total = None
        for line in self.http("/actuator/prometheus")[2].splitlines():
            if not line.startswith((name + "{", name + " ")):
                continue
            if all('%s="%s"' % pair in line for pair in labels.items()):
                total = (total or 0) + float(line.rsplit(" ", 1)[1])
        return total

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                self._last_log = file.read()
        except OSError:
            pass
        return self._last_log


def clean_environment():
    """Without what would override a configuration."""
    return {key: value for key, value in os.environ.items()
            if not key.startswith(("LOCKMGR_", "LOCKCTL_"))}


# ---- a region ------------------------------------------------------------------------------------

class Region:
    """Its nodes are numbered from 1. settings are merged into every node's configuration. certs
    (a Certs of certs.py): the region uses TLS."""

    def __init__(self, n_nodes=1, region_id="test", settings=None, start=True, certs=None):
        if not os.path.exists(os.path.join(BIN, "lockmgrd")):
            raise Trouble("%s/lockmgrd is not there; build, or set LM_BIN" % BIN)
        self.root = tempfile.mkdtemp(prefix="lm", dir="/tmp")
        self._guard = subprocess.Popen(
            [sys.executable, "-B", os.path.abspath(__file__), "--guard", self.root + "/"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.region_id, self.settings, self.certs = region_id, settings or {}, certs
        self.ports, self.nodes = Ports(), []
        self.extra = []
        for number in range(1, n_nodes + 1):
            self.nodes.append(Node(self, number))
        for node in self.nodes if certs else ():
            certs.make("node", node.name, region_id)
        atexit.register(self.close)
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.print_logs()
        self.close()

    def start(self):
        for node in self.nodes:
            if not node.runs():
                node.start()

    def node(self, number):
        return self.nodes[number - 1]

    def give_raft_ports(self):
        """Before the start: each node gets a port for the other nodes."""
        for node in self.nodes:
            node.raft_port = self.ports.take()

    def add_node(self):
        """One more set of files and ports beside the region's own nodes, for odd configurations."""
        node = Node(self, 1 + len(self.nodes) + len(self.extra))
        self.extra.append(node)
        return node

    def addresses(self):
        return ",".join(node.address for node in self.nodes)

    # ---- faults ----

    def kill_node(self, number):
        self.node(number).kill()

    def kill_all(self):
        """kill -9 of all nodes at one moment, as when the power fails."""
        pids = [pid for node in self.nodes for pid in node.children()]
        for node in self.nodes:
            node.process.kill()
        for node in self.nodes:
            node.process.wait()
        wait_for("all processes of the region have gone",
                 lambda: not any(is_alive(pid) for pid in pids), 10, 0.005)

    def stop_node(self, number):
        return self.node(number).stop()

    def restart_node(self, number):
        self.node(number).start()

    # ---- looking ----

    def leader(self, seconds=30, among=None):
        """The node that leads and of which a majority of those asked say so."""
        nodes = among or self.nodes
        return wait_for("a leader", lambda: self._find_leader(nodes), seconds)

    @staticmethod
    def _find_leader(nodes):
        import calls
        states = [(node, node.status()) for node in nodes if node.runs()]
        states = [(node, status) for node, status in states if status is not None]
        leading = [(status.header.term, node.number, node) for node, status in states
                   if status.role == calls.LEADER and not status.problem]
        if not leading:
            return None
        leader = max(leading)[2]
        followers = sum(1 for _, status in states if status.leader == leader.name)
        return leader if followers * 2 > len(nodes) or len(states) == 1 else None

    def followers(self):
        leader = self.leader()
        return [node for node in self.nodes if node is not leader and node.runs()]

    def wait_serving(self, seconds=60, nodes=None):
        """Until a linearizable read succeeds through every node; returns the seconds it took."""
        import grpc
        begin = time.monotonic()

        def serves(node):
            if not node.runs():
                raise Trouble("%s has ended with code %s" % (node.name, node.process.poll()))
            try:
                node.client.get("test/ready", timeout=2)
            except grpc.RpcError:
                return False
            return True
        for node in nodes or self.nodes:
            wait_for("%s serves" % node.name, lambda node=node: serves(node),
                     max(1, seconds - (time.monotonic() - begin)))
        return time.monotonic() - begin

    def wait_equal_hashes(self, seconds=30):
        """Until all nodes have applied the same index; their hashes must then be the same. Returns
        (index, hash)."""
        seen = {}

        def settled():
            states = [node.status() for node in self.nodes]
            for node, status in zip(self.nodes, states):
                if status is None or not status.state_hash:
                    continue
                known = seen.setdefault(status.applied_index, (status.state_hash, node.name))
                if known[0] != status.state_hash:
                    raise Trouble("state hashes differ at index %d: %s says %s, %s says %s"
                                  % (status.applied_index, *known[::-1], node.name,
                                     status.state_hash))
            rows = {(status.applied_index, status.state_hash) if status else None
                    for status in states}
            return rows.pop() if len(rows) == 1 and None not in rows else None
        return wait_for("all nodes have applied the same", settled, seconds, 0.1)

    def lockctl(self, *arguments, endpoints=None, timeout=60, **options):
        """Runs lockctl against the region; returns the finished process with its output as text."""
        return subprocess.run(
            [os.path.join(BIN, "lockctl"), "--endpoints", endpoints or self.addresses(),
             *arguments], capture_output=True, text=True, timeout=timeout,
            env=clean_environment(), **options)

    # ---- the end ----

    def print_logs(self, lines=60):
        for node in self.nodes + self.extra:
            text = node.log().splitlines()
            print("---- %s, last %d of %d lines of its log ----"
                  % (node.name, min(lines, len(text)), len(text)))
            print("\n".join(text[-lines:]), flush=True)

    def close(self):
        """Stops everything hard. May be called twice."""
        if self._guard is None:
            return
        atexit.unregister(self.close)
        supervisors = [node.process for node in self.nodes + self.extra if node.process]
        for node in self.nodes + self.extra:
            if node._client is not None:
                node._client.close()
        for process in supervisors:
            if process.poll() is None:
                process.kill()
            process.wait()
        left = self._wait_gone()
        # Before the guard ends: it takes the files away.
        faults = [node.name + ": " + line for node in self.nodes + self.extra
                  for line in node.log().splitlines() if OWN_FAULT.search(line)]
        self._guard.stdin.close()
        self._guard.wait()
        self._guard = None
        self.ports.close()
        if not os.environ.get("LM_KEEP"):
            shutil.rmtree(self.root, ignore_errors=True)
        if left:
            raise Trouble("processes outlived their supervisor and had to be killed: %s" % left)
        if faults:
            raise Trouble("actors ended by faults of their own:\n" + "\n".join(faults[:20]))

    def _wait_gone(self):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if not any(is_alive(pid) for pid in processes_of(self.root)):
                return []
            time.sleep(0.02)
        names = []
        for pid in processes_of(self.root):
            with open("/proc/%d/cmdline" % pid) as file:
                names.append("%d %s" % (pid, file.read().replace("\0", " ")))
        kill_all_of(self.root)
        return names


if __name__ == "__main__" and sys.argv[1:2] == ["--guard"]:
    guard(sys.argv[2].rstrip("/"))
