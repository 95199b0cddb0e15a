"""Containers for tests: the image's file system under runc, as kubelet would run it.

    with Yard(folder, tree) as yard:      # in namespaces of their own: see alone()
        cell = yard.cell("n1", config, uid=65532)
        cell.start()
        cell.run(["/usr/bin/lockctl", "health"])

Invariants
  C1  Whoever makes cells is process 1 of namespaces of its own (alone): when it ends, in whatever way,
      all processes, mounts and network links end with it. Only groups of the kernel's accounting and
      files are left, and the process outside removes those.
  C2  A cell has a read-only root, a small tmpfs at /run, its volume at /var/lib/lockmgr, no
      capabilities, no way to new ones, half a processor and 512 MiB.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CPU_QUOTA, CPU_PERIOD, MEMORY = 50000, 100000, 512 << 20
HOME = "10.77.0.1"
PREFIX = "lockmgr-test-"
GROUPS = "/sys/fs/cgroup"
V1_CONTROLLERS = ("cpu", "memory")


class CannotBe(Exception):
    """Containers cannot be made here, and why."""


def has_v2():
    return os.path.exists(os.path.join(GROUPS, "cgroup.controllers"))


def group_folders(name):
    """Where the groups of that name are."""
    if has_v2():
        return [os.path.join(GROUPS, name)]
    return [os.path.join(GROUPS, one, name) for one in sorted(os.listdir(GROUPS))]


def check():
    """Raises CannotBe, with the reason, where containers cannot be made."""
    if os.geteuid() != 0:
        raise CannotBe("containers need root")
    for tool in "runc", "ip", "unshare", "nsenter", "mmdebstrap":
        if not shutil.which(tool):
            raise CannotBe("%s is not installed" % tool)
    if has_v2():
        with open(os.path.join(GROUPS, "cgroup.controllers"), encoding="ascii") as file:
            missing = set(V1_CONTROLLERS) - set(file.read().split())
    else:
        missing = [one for one in V1_CONTROLLERS if not os.path.isdir(os.path.join(GROUPS, one))]
    if missing:
        raise CannotBe("no control groups for %s" % ", ".join(sorted(missing)))
    try:
        for probe in group_folders(PREFIX + "probe-%d" % os.getpid()):
            os.mkdir(probe)
            os.rmdir(probe)
    except OSError as error:
        raise CannotBe("no control group can be made: %s" % error) from None
    done = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c",
                           "ip link add left type veth peer name right && ip link add yard type bridge"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotBe("no namespaces with links and bridges: %s" % done.stderr.strip())


def listed(name):
    """The words of one of the lists of deploy/image/contents.sh."""
    with open(os.path.join(ROOT, "deploy/image/contents.sh"), encoding="utf-8") as file:
        return re.search(r'^%s="?([^"\n]*(\n [^"]*)?)' % name, file.read(), re.M).group(1).split()


def whose_programs(folder):
    """Arguments for scripts/image: the programs of that folder, unless this machine has another
    release than the image."""
    with open("/etc/os-release", encoding="utf-8") as file:
        here = re.search(r"^VERSION_CODENAME=(\S+)", file.read(), re.M)
    if here and [here.group(1)] == listed("image_suite"):
        return ["--programs", folder]
    return ["--inside"]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def alone(arguments, *more):
    """Runs this program again as process 1 of its own namespaces, with those of more too ("--net");
    returns its exit status."""
    command = ["unshare", "--mount", "--ipc", "--pid", *more, "--fork", "--kill-child", "--mount-proc",
               "--propagation", "private", sys.executable, "-B", *arguments]
    return subprocess.run(command, preexec_fn=die_with_parent).returncode


def remove_groups(name):
    """The groups of that name, deepest first. What ran in them has ended with its namespaces."""
    for top in group_folders(name):
        for folder, _, _ in os.walk(top, topdown=False):
            for _ in range(50):
                try:
                    os.rmdir(folder)
                    break
                except OSError:
                    time.sleep(0.1)


def remove_forgotten():
    """Groups of tests that were killed before they could remove them."""
    for top in group_folders("."):
        for name in os.listdir(top):
            number = name.removeprefix(PREFIX)
            if name != number and number.isdigit() and not os.path.exists("/proc/" + number):
                remove_groups(name)


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (" ".join(command), done.stdout + done.stderr))
    return done.stdout


class Names(threading.Thread):
    """A name server for the cells of a yard; answers one question at a time, and only those for IPv4
    with an address."""

    def __init__(self, yard):
        super().__init__(daemon=True)
        self.yard, self.socket = yard, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOME, 53))

    def run(self):
        while True:
            question, asker = self.socket.recvfrom(512)
            self.socket.sendto(self.answer(question), asker)

    def answer(self, question):
        end = question.index(b"\0", 12) + 1
        name = question[13:13 + question[12]].decode("ascii", "replace")
        kind = question[end:end + 2]
        found = [one.address for one in self.yard.cells if one.name == name and end == len(name) + 14]
        rows = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(address)
                        for address in found if kind == b"\0\1")
        code = 0x8580 if found else 0x8583
        return (question[:2] + struct.pack(">5H", code, 1, len(rows) // 16, 0, 0)
                + question[12:end + 4] + rows)


class Yard:
    """A network of cells. The program itself is on it too, and tells the cells each other's names."""

    def __init__(self, folder, tree, group):
        self.folder, self.tree, self.group = folder, tree, group
        self.cells = []

    def __enter__(self):
        call("ip", "link", "set", "lo", "up")
        # A bridge without an address of its own takes the lowest one of its ports: with each cell that
        # starts it may be another, and those that know the old one hear nothing of names for a while.
        call("ip", "link", "add", "yard", "address", "02:00:00:00:00:01", "type", "bridge")
        call("ip", "address", "add", HOME + "/24", "dev", "yard")
        call("ip", "link", "set", "yard", "up")
        with open(os.path.join(self.folder, "hosts"), "w", encoding="ascii") as file:
            file.write("127.0.0.1 localhost\n")
        with open(os.path.join(self.folder, "resolv.conf"), "w", encoding="ascii") as file:
            file.write("nameserver %s\n" % HOME)
        Names(self).start()
        return self

    def __exit__(self, *_):
        for cell in self.cells:
            cell.remove()

    def cell(self, name, config, uid=65532, gid=None):
        cell = Cell(self, name, len(self.cells) + 10, uid, uid if gid is None else gid)
        cell.write("lockmgr.cfg", config)
        self.cells.append(cell)
        return cell


class Cell:
    def __init__(self, yard, name, number, uid, gid):
        self.yard, self.name, self.uid, self.gid = yard, name, uid, gid
        self.address, self.number = "10.77.0.%d" % number, number
        self.bundle = os.path.join(yard.folder, name)
        self.log_path = os.path.join(self.bundle, "log")
        self.pid = None
        for folder in "etc", "data":
            os.makedirs(os.path.join(self.bundle, folder))
        os.chown(os.path.join(self.bundle, "data"), uid, gid)

    def write(self, name, text):
        path = os.path.join(self.bundle, "etc", name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    @property
    def group(self):
        return "%s/%s" % (self.yard.group, self.name)

    def specification(self, arguments):
        """What kubelet asks a runtime for, in the runtime's words."""
        def mount(to, kind, options, source=None):
            return {"destination": to, "type": kind, "source": source or kind, "options": options}

        bind = ["bind", "nosuid", "nodev", "noexec"]
        etc, data = (os.path.join(self.bundle, one) for one in ("etc", "data"))
        names = [{"type": one} for one in ("pid", "network", "ipc", "uts", "mount")]
        return {
            "ociVersion": "1.0.2", "hostname": self.name,
            "root": {"path": self.yard.tree, "readonly": True},
            "process": {
                "user": {"uid": self.uid, "gid": self.gid}, "cwd": "/", "args": arguments,
                "env": ["PATH=/usr/bin"], "noNewPrivileges": True,
                "capabilities": {kind: [] for kind in
                                 ("bounding", "effective", "inheritable", "permitted", "ambient")}},
            "mounts": [
                mount("/proc", "proc", ["nosuid", "noexec", "nodev"]),
                mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
                mount("/dev/shm", "tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=64m"], "shm"),
                mount("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
                mount("/sys/fs/cgroup", "cgroup", ["nosuid", "noexec", "nodev", "ro"]),
                mount("/run", "tmpfs", ["nosuid", "nodev", "noexec", "mode=1777", "size=16m"]),
                mount("/etc/lockmgr", "bind", [*bind, "ro"], etc),
                *[mount("/etc/" + one, "bind", [*bind, "ro"], os.path.join(self.yard.folder, one))
                  for one in ("hosts", "resolv.conf")],
                mount("/var/lib/lockmgr", "bind", bind, data)],
            "linux": {
                "cgroupsPath": "/" + self.group, "namespaces": names,
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
                "resources": {
                    "devices": [{"allow": False, "access": "rwm"}],
                    "cpu": {"quota": CPU_QUOTA, "period": CPU_PERIOD, "shares": 256},
                    "memory": {"limit": MEMORY}}}}

    def start(self, arguments=("/usr/bin/lockmgrd", "--config", "/etc/lockmgr/lockmgr.cfg")):
        with open(os.path.join(self.bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(self.specification(list(arguments)), file)
        pid_file = os.path.join(self.bundle, "pid")
        with open(self.log_path, "ab") as log:
            done = subprocess.run(self.runc("create", "--bundle", self.bundle, "--pid-file", pid_file,
                                            self.name), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if done.returncode != 0:
            raise AssertionError("runc create %s: %s" % (self.name, self.log()[-2000:]))
        with open(pid_file, encoding="ascii") as file:
            self.pid = int(file.read())
        self.connect()
        call(*self.runc("start", self.name))

    def connect(self):
        link, inside = "v%d" % self.number, ["nsenter", "--target", str(self.pid), "--net", "ip"]
        call("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid))
        call("ip", "link", "set", link, "master", "yard", "up")
        call(*inside, "address", "add", self.address + "/24", "dev", "eth0")
        call(*inside, "link", "set", "eth0", "up")
        call(*inside, "link", "set", "lo", "up")

    def runc(self, *arguments):
        return ["runc", "--root", os.path.join(self.yard.folder, "runc"), *arguments]

    def run(self, command, seconds=30):
        """A command in the cell, as a probe is; returns the ended process."""
        return subprocess.run(self.runc("exec", self.name, *command), capture_output=True, text=True,
                              timeout=seconds, stdin=subprocess.DEVNULL)

    def processes(self):
        return [int(pid) for pid in json.loads(call(*self.runc("ps", "--format", "json", self.name)))]

    def stop(self, seconds=30):
        """SIGTERM; returns exit status and seconds it took. Its first process is a child of ours, for
        we are process 1 here."""
        begin = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begin > seconds:
                raise AssertionError("%s did not stop within %g s" % (self.name, seconds))
            time.sleep(0.02)
        self.remove()
        return os.waitstatus_to_exitcode(status), time.monotonic() - begin

    def remove(self):
        if self.pid:
            call(*self.runc("delete", "--force", self.name))
            self.pid = None

    def accounts(self, *names):
        """What the kernel counts for the cell, in files of control groups: {name: number}."""
        found = {}
        for folder in group_folders(self.group):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.exists(path):
                    with open(path, encoding="ascii") as file:
                        words = [line.split() for line in file.read().splitlines() if line]
                    found.update({name if len(row) == 1 else row[0]:
                                  int(row[-1]) if row[-1].isdigit() else row[-1] for row in words})
        return found

    def limits(self):
        """(memory, processors) that the kernel allows it."""
        if has_v2():
            with open(os.path.join(GROUPS, self.group, "cpu.max"), encoding="ascii") as file:
                quota, period = file.read().split()
            return self.accounts("memory.max")["memory.max"], int(quota) / int(period)
        found = self.accounts("memory.limit_in_bytes", "cpu.cfs_quota_us", "cpu.cfs_period_us")
        return (found["memory.limit_in_bytes"],
                found["cpu.cfs_quota_us"] / found["cpu.cfs_period_us"])

    def burden(self):
        """{peak: bytes, oom: kills, throttled: periods}"""
        found = self.accounts("memory.peak", "memory.events", "memory.max_usage_in_bytes",
                              "memory.oom_control", "cpu.stat")
        return {"peak": found.get("memory.peak", found.get("memory.max_usage_in_bytes")),
                "oom": found.get("oom_kill", 0), "throttled": found.get("nr_throttled", 0)}

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()


# ---- running -------------------------------------------------------------------------------------

def main(outside):
    """What a test's file does as a program: outside() first, which runs the file again where it is alone; there,
    the tests."""
    if "--inside" not in sys.argv:
        sys.exit(outside())
    sys.argv.remove("--inside")
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main()
