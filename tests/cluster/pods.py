"""Pods without an orchestrator: each node in a network of its own with an address of its own, found
by name through a name server of the test; not root, /run empty at each start, a volume that stays.

Everything happens in namespaces of this process: enter() must come first, and with it everything ends
that was started here.
"""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import calls
from region import BIN, clean_environment, wait_for, write_config

ROOT_USER, NODE_USER = 0, 65532
BRIDGE, NET = "br0", "10.77.0."
GRPC, REGION, ACTUATOR = 9090, 9091, 8080
INSIDE = "LM_PODS_INSIDE"

# What a kubelet does before it starts a container, in a mount namespace of its own.
START = """set -e
mount -t tmpfs -o mode=2777,gid=%d run /run
mount -t tmpfs mnt /mnt
mkdir /mnt/bin /mnt/volume
mount --bind "$1" /mnt/bin
mount --bind "$2" /mnt/volume
exec setpriv --reuid %d --regid %d --clear-groups /mnt/bin/lockmgrd --config "$3"
""" % (NODE_USER, NODE_USER, NODE_USER)


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdout=subprocess.DEVNULL)


def why_not():
    """Why there cannot be pods here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces with several users need root"
    for program in ("unshare", "nsenter", "setpriv", "ip"):
        if not shutil.which(program):
            return "%s is not there" % program
    probe = subprocess.run(NAMESPACES + ["ip", "link", "add", "vt", "type", "veth", "peer", "name",
                                         "vu"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return "no namespaces: %r" % probe.stdout[-200:] if probe.returncode else None


NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]


def enter():
    """Executes this program anew inside of namespaces; ends it with 77 if there can be none."""
    if os.environ.get(INSIDE):
        set_up()
        return
    fault = why_not()
    if fault:
        print("skipped: %s" % fault)
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp(NAMESPACES[0], NAMESPACES + [sys.executable, "-B", *sys.argv])


def set_up():
    subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)
    os.makedirs("/run/netns")
    ip("link", "set", "lo", "up")
    # Its own address, or it would have another one whenever a pod comes or goes, which the others do not know.
    ip("link", "add", BRIDGE, "address", "02:00:00:00:00:01", "type", "bridge")
    ip("addr", "add", NET + "1/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")


class Names(threading.Thread):
    """A name server: names and their addresses, which may change at any time. It takes delay_s for each answer."""

    def __init__(self):
        super().__init__(daemon=True)
        self.known, self.delay_s = {}, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((NET + "1", 53))

    def run(self):
        while True:
            try:
                query, sender = self.socket.recvfrom(512)
                answer = self.answer(query)
                if self.delay_s:
                    threading.Timer(self.delay_s, self.socket.sendto, (answer, sender)).start()
                else:
                    self.socket.sendto(answer, sender)
            except (OSError, IndexError, struct.error):
                pass

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, = struct.unpack(">H", query[at + 1:at + 3])
        found = self.known.get(".".join(labels).lower())
        addresses = found if found and kind == 1 else []
        head = query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if found else 3), 1, len(addresses), 0, 0)
        rows = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(one)
                        for one in addresses)
        return head + query[12:at + 5] + rows


class Pod:
    def __init__(self, world, name, config_path):
        self.world, self.name, self.config_path = world, name, config_path
        self.volume = os.path.join(world.root, name)
        self.log_path = self.volume + ".log"
        self.process, self.address, self.veth, self._client = None, None, None, None
        os.makedirs(self.volume)
        # As a kubelet does it with an fsGroup.
        os.chown(self.volume, ROOT_USER, NODE_USER)
        os.chmod(self.volume, 0o2775)

    def plug_in(self):
        """A network and an address that nobody has had before."""
        self.address, self.veth = self.world.next_address(), self.world.next_veth()
        ip("netns", "add", self.veth)
        ip("link", "add", self.veth, "type", "veth", "peer", "name", "eth0", "netns", self.veth)
        ip("link", "set", self.veth, "master", BRIDGE, "up")
        ip("-n", self.veth, "addr", "add", self.address + "/24", "dev", "eth0")
        ip("-n", self.veth, "link", "set", "eth0", "up")
        ip("-n", self.veth, "link", "set", "lo", "up")

    def start(self, **variables):
        self.plug_in()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", "--net=/run/netns/" + self.veth, "unshare", "--mount", "sh", "-c",
                 START, "sh", BIN, self.volume, self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**clean_environment(), "LOCKMGR_NODE": self.name, **variables})

    @property
    def client(self):
        if self._client is None:
            self._client = calls.Client("%s:%d" % (self.address, GRPC))
        return self._client

    def forget_client(self):
        if self._client is not None:
            self._client.close()
        self._client = None

    def stop(self, seconds=60):
        """As an orderly eviction; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self.unplug()
        return code

    def vanish(self):
        """As its machine does: nobody hears a word of the end of its connections."""
        ip("link", "set", self.veth, "down")
        self.process.kill()
        self.process.wait()
        self.unplug()

    def unplug(self):
        self.forget_client()
        ip("link", "del", self.veth)
        ip("netns", "del", self.veth)

    def http(self, path):
        try:
            with urllib.request.urlopen("http://%s:%d%s" % (self.address, ACTUATOR, path),
                                        timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name, **labels):
        wanted = name + ("{%s}" % ",".join('%s="%s"' % one for one in labels.items())
                         if labels else "")
        found = re.search(r"^%s (\S+)$" % re.escape(wanted), self.http("/actuator/prometheus")[1],
                          re.MULTILINE)
        return float(found.group(1)) if found else None

    def status(self):
        try:
            return self.client.status(timeout=2)
        except calls.grpc.RpcError:
            return None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()


class World:
    """The bridge, the name server, and the pods."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="lmpods", dir="/tmp")
        os.chmod(self.root, 0o755)
        self.pods, self.n_addresses, self.n_veths = [], 9, 0
        self.names = Names()
        self.names.start()
        self.bind("/etc/resolv.conf", self.resolver(timeout_s=1))
        self.key_path = os.path.join(self.root, "peer.key")
        with open(self.key_path, "w", encoding="utf-8") as file:
            file.write("k" * 64 + "\n")
        os.chown(self.key_path, ROOT_USER, NODE_USER)
        os.chmod(self.key_path, 0o440)

    def bind(self, path, text):
        """Puts a file of that text in the place of another one, for this process and its pods."""
        mine = os.path.join(self.root, os.path.basename(path))
        with open(mine, "w", encoding="utf-8") as file:
            file.write(text)
        subprocess.run(["mount", "--bind", mine, os.path.realpath(path)], check=True)

    @staticmethod
    def resolver(timeout_s):
        return ("nameserver %s1\nsearch pods.svc.cluster.local\noptions ndots:5 timeout:%d\n"
                % (NET, timeout_s))

    def slow_names(self, delay_s):
        """From now on each name is answered that late, and asked for once in five seconds, which is what
        resolvers do by themselves. 0: as before."""
        self.names.delay_s = delay_s
        with open(os.path.join(self.root, "resolv.conf"), "w", encoding="utf-8") as file:
            file.write(self.resolver(timeout_s=5 if delay_s else 1))

    def next_address(self):
        self.n_addresses += 1
        return NET + str(self.n_addresses)

    def next_veth(self):
        self.n_veths += 1
        return "pod%d" % self.n_veths

    def region(self, name, n_pods, **settings):
        """The pods NAME-0, NAME-1, ... with one configuration for all, as a chart makes it."""
        names = ["%s-%d" % (name, i) for i in range(n_pods)]
        path = os.path.join(self.root, name + ".cfg")
        write_config(path, {
            "data_dir": "/mnt/volume/node", "run_dir": "/run/lockmgr", "listen": "0.0.0.0",
            "peer_key": self.key_path, "replica_count": n_pods,
            "peers": [{"name": one, "host": self.host(one), "grpc_port": GRPC} for one in names],
            **settings})
        pods = [Pod(self, one, path) for one in names]
        self.pods += pods
        return pods

    @staticmethod
    def host(name):
        return "%s.headless.pods.svc.cluster.local" % name

    def publish(self, pods):
        """What the headless Service does when a pod has an address."""
        for pod in pods:
            self.names.known[self.host(pod.name)] = [pod.address]

    def wait_serving(self, pods, seconds=60):
        for pod in pods:
            def serves(pod=pod):
                if pod.process.poll() is not None:
                    raise AssertionError("%s has ended with %s" % (pod.name, pod.process.poll()))
                try:
                    pod.client.get("test/ready", timeout=2)
                except calls.grpc.RpcError:
                    return False
                return True
            wait_for("%s serves" % pod.name, serves, seconds)

    def print_logs(self):
        for pod in self.pods:
            print("---- %s ----\n%s" % (pod.name, "\n".join(pod.log().splitlines()[-60:])))

    def close(self):
        for pod in self.pods:
            pod.forget_client()
            if pod.process is not None and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()
        if not os.environ.get("LM_KEEP"):
            shutil.rmtree(self.root, ignore_errors=True)
