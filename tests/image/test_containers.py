#!/usr/bin/python3
"""The image, run as Kubernetes runs it: three containers with a read-only root, no capabilities, half a
processor and 512 MiB each. LM_BIN has the programs; `scripts/test --full` holds the load for two minutes.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

import cell

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.get("LM_BIN") or os.path.join(ROOT, "build", "bin")
FULL = os.environ.get("LM_TEST_FULL") == "1"
SATURATED_SECONDS, HELD_SECONDS = (10, 120) if FULL else (5, 12)
# Other tests run beside this one, and may take a processor away for longer than a leader can bear.
ATTEMPTS = 3
UID, OTHER_UID = 65532, 100123

CONFIG = """
node = "%s";
data_dir = "/var/lib/lockmgr";
listen = "0.0.0.0";
peer_auth = "trusted";
region = { id = "yard"; };
peers = ( %s );
"""


def config(name, names):
    return CONFIG % (name, ", ".join('{ name = "%s"; host = "%s"; }' % (one, one) for one in names))


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (seconds, what))
        time.sleep(0.1)


# ---- the archive and what is in it ----

class Image(unittest.TestCase):
    """What docker, podman and others would find in the archive of scripts/image."""

    @classmethod
    def setUpClass(cls):
        cls.tree = os.path.join(os.environ["LM_IMAGE"], "root")
        with tarfile.open(os.path.join(os.environ["LM_IMAGE"], "image.tar")) as tar:
            def read(name):
                return tar.extractfile(name).read()
            cls.names = tar.getnames()
            cls.docker = json.loads(read("manifest.json"))[0]
            cls.config = json.loads(read(cls.docker["Config"]))
            cls.entry = json.loads(read("index.json"))["manifests"][0]
            cls.manifest = json.loads(read("blobs/sha256/" + cls.entry["digest"][7:]))

    def files(self):
        return [os.path.relpath(os.path.join(folder, name), self.tree)
                for folder, _, names in os.walk(self.tree) for name in names]

    def test_how_it_is_run(self):
        run = self.config["config"]
        self.assertEqual(run["Entrypoint"], ["/usr/bin/lockmgrd"])
        self.assertEqual(run["Cmd"], ["--config", "/etc/lockmgr/lockmgr.cfg"])
        self.assertEqual(run["User"], "%d:%d" % (UID, UID))
        self.assertEqual(set(run["ExposedPorts"]), {"9090/tcp", "9091/tcp", "8080/tcp"})
        self.assertEqual(run["StopSignal"], "SIGTERM")

    def test_labels(self):
        labels = self.config["config"]["Labels"]
        with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
            version = re.search(r"VERSION ([\d.]+)", file.read().split("project(")[1]).group(1)
        self.assertEqual(labels["org.opencontainers.image.version"], version)
        for name in "title", "description", "revision", "created", "licenses", "base.name":
            self.assertTrue(labels["org.opencontainers.image." + name], name)

    def test_both_forms_of_the_archive_name_the_same(self):
        self.assertEqual("blobs/" + self.manifest["config"]["digest"].replace(":", "/"),
                         self.docker["Config"])
        self.assertEqual(["blobs/" + one["digest"].replace(":", "/") for one in self.manifest["layers"]],
                         self.docker["Layers"])
        self.assertTrue(set(self.docker["Layers"]) <= set(self.names))

    def test_kubelets_find_it_by_the_name_they_ask_for(self):
        """A tag without a registry in it is docker.io's, for them."""
        tag, = self.docker["RepoTags"]
        self.assertNotIn(".", tag.split("/", maxsplit=1)[0])
        self.assertEqual(self.entry["annotations"]["io.containerd.image.name"],
                         "docker.io/" + ("" if "/" in tag else "library/") + tag)

    def test_nothing_but_what_is_needed(self):
        files = self.files()
        programs = sorted(os.path.basename(one) for one in files if one.startswith("usr/bin/"))
        self.assertEqual(programs, sorted(cell.listed("image_programs")))
        self.assertEqual([one for one in files if re.search(r"(^|/)(ba|da|)sh$|busybox|perl|\.pl$", one)], [])
        size = sum(os.lstat(os.path.join(self.tree, one)).st_size for one in files)
        print("%d files, %.1f MB" % (len(files), size / 1e6))
        self.assertLess(size, 80e6)

    def test_every_listed_package_is_named_by_a_program(self):
        """And so there is none that nobody needs; what these need comes by itself."""
        named = set()
        for program in os.listdir(os.path.join(self.tree, "usr/bin")):
            out = cell.call("objdump", "-p", os.path.join(self.tree, "usr/bin", program))
            named.update(re.findall(r"NEEDED +(\S+)", out))
        listed = cell.listed("image_packages") + cell.listed("image_backports")
        stems = {re.sub(r"(-?[\d.]+)?\.so.*", "", one) for one in named}
        aliases = {"libc6": "libc", "libssl3": "libcrypto"}
        for package in listed:
            self.assertIn(aliases.get(package, package.rstrip("0123456789")), stems, sorted(named))
            self.assertTrue(os.path.exists(os.path.join(self.tree, "var/lib/dpkg/status.d", package)))
            self.assertTrue(os.path.exists(os.path.join(self.tree, "usr/share/doc", package, "copyright")))



# ---- containers ----

class Containers(unittest.TestCase):
    yard = None

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="yard", dir=os.environ["LM_YARD"])
        cls.yard = cell.Yard(folder, os.path.join(os.environ["LM_IMAGE"], "root"), os.environ["LM_GROUP"])
        cls.yard.__enter__()
        cls.addClassCleanup(cls.yard.__exit__)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for one in self.yard.cells:
                print("---- %s\n%s" % (one.name, one.log()[-6000:]))

    def probe(self, one, *arguments, code=0):
        """lockctl in a container, as an exec probe would call it."""
        done = one.run(["/usr/bin/lockctl", *arguments])
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def is_healthy(self, one):
        return one.run(["/usr/bin/lockctl", "health"]).returncode == 0

    def lockbench(self, cells, *arguments):
        done = subprocess.run(
            [os.path.join(BIN, "lockbench"), "run", "--json", "--endpoints",
             ",".join("%s:9090" % one.address for one in cells), *arguments],
            capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def terms(self, cells):
        found = json.loads(self.probe(cells[0], "--endpoints", ",".join("%s:9090" % one.name for one in cells),
                                      "status", "-o", "json"))
        return [(one["header"]["node"], int(one["header"]["term"]), one["leader"]) for one in found]

    def assert_confined(self, one):
        memory, processors = one.limits()
        self.assertEqual((memory, processors), (512 << 20, 0.5))
        pids = one.processes()
        self.assertEqual(len(pids), 6)
        for pid in pids:
            with open("/proc/%d/status" % pid, encoding="ascii") as file:
                status = dict(line.split(":", 1) for line in file.read().splitlines())
            self.assertEqual(set(status["Uid"].split()), {str(one.uid)})
            self.assertEqual(status["NoNewPrivs"].strip(), "1")
            for kind in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
                self.assertEqual(int(status[kind], 16), 0, kind)

    def assert_root_is_read_only(self, one):
        """Even for root, and so for everybody."""
        for folder in "", "usr/bin", "etc", "var/lib":
            path = os.path.join("/proc/%d/root" % one.pid, folder, "written")
            with self.assertRaisesRegex(OSError, "Read-only file system"):
                open(path, "w").close()
        done = one.run(["/usr/bin/lockctl", "session", "open", "--secret-file", "/etc/secret"])
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn("Read-only file system", done.stderr)

    def test_three_under_load(self):
        names = ["n1", "n2", "n3"]
        cells = [self.yard.cell(name, config(name, names)) for name in names]
        for one in cells:
            one.start()
        wait_for("all three serve", lambda: all(self.is_healthy(one) for one in cells))
        for one in cells:
            self.assert_confined(one)
            self.assert_root_is_read_only(one)
            self.assertNotEqual(one.run(["/bin/sh", "-c", "true"]).returncode, 0, "there is a shell")
        most = self.lockbench(cells, "--workers", "64", "--seconds", str(SATURATED_SECONDS))
        print("saturated: %d cycles/s" % most["per_second"])
        for attempt in range(ATTEMPTS):
            time.sleep(2)
            trouble = self.hold_half(cells, most["per_second"])
            if not trouble:
                break
            print("attempt %d: %s" % (attempt + 1, trouble))
        self.assertFalse(trouble)
        self.stop_all(cells)

    def hold_half(self, cells, most):
        """Half of the most that they reach; returns what went wrong, or None."""
        before, began = self.terms(cells), [one.burden() for one in cells]
        held = self.lockbench(cells, "--workers", "64", "--rate", str(int(most / 2)),
                              "--seconds", str(HELD_SECONDS), "--warmup", "1")
        after = self.terms(cells)
        print("held: %d cycles/s for %d s, %d errors, p99 %.1f ms" % (
            held["per_second"], HELD_SECONDS, held["errors"], held["latency_us"]["cycle"]["p99"] / 1000))
        for one, first in zip(cells, began):
            last = one.burden()
            print("%s: peak %.0f MiB, throttled in %d periods" % (
                one.name, last["peak"] / 2**20, last["throttled"] - first["throttled"]))
            self.assertLess(last["peak"], 512 << 20)
            self.assertEqual(last["oom"], 0)
        if held["errors"]:
            return "%d errors: %s" % (held["errors"], held["error"])
        if len({(term, leader) for _, term, leader in before}) != 1 or after != before:
            return "the leader changed: %s, %s" % (before, after)
        return None

    def stop_all(self, cells):
        for one in cells:
            status, seconds = one.stop()
            print("%s stopped in %.1f s" % (one.name, seconds))
            self.assertEqual(status, 0, one.log()[-2000:])
            self.assertLess(seconds, 10)

    def test_any_user(self):
        """As where a platform draws the user's number: group 0, no entry in /etc/passwd."""
        one = self.yard.cell("alone", config("alone", ["alone"]), OTHER_UID, 0)
        one.start()
        wait_for("it serves", lambda: self.is_healthy(one))
        self.assert_confined(one)
        self.probe(one, "acquire", "kept", "--owner", "a", "--ttl", "5m")
        self.assertEqual(one.stop()[0], 0)
        one.start(["/usr/bin/lockmgrd", "--threads", "--config", "/etc/lockmgr/lockmgr.cfg"])
        wait_for("it serves again, in one process", lambda: self.is_healthy(one))
        self.assertEqual(len(one.processes()), 1)
        self.probe(one, "acquire", "kept", "--owner", "b", "-n", code=1)
        self.assertEqual(one.stop()[0], 0)

    def test_without_a_configuration_it_says_so(self):
        one = self.yard.cell("bare", config("bare", ["bare"]))
        os.unlink(os.path.join(one.bundle, "etc", "lockmgr.cfg"))
        one.start()
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(one.pid, 0)[1]), 78, one.log())
        self.assertIn("/etc/lockmgr/lockmgr.cfg", one.log())


# ---- outside and inside ----

def outside():
    """Makes the image, runs the tests in namespaces of their own, takes away what these leave."""
    sys.stdout.reconfigure(line_buffering=True)
    try:
        cell.check()
    except cell.CannotBe as reason:
        print("skipped: %s" % reason)
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cell.remove_forgotten()
    folder, group = tempfile.mkdtemp(prefix="lmi"), cell.PREFIX + str(os.getpid())
    try:
        image = os.path.join(folder, "image")
        begin = time.monotonic()
        subprocess.run([os.path.join(ROOT, "scripts", "image"), *cell.whose_programs(BIN), "--output", image],
                       check=True, stdin=subprocess.DEVNULL)
        print("the image is made in %.0f s" % (time.monotonic() - begin))
        os.chmod(folder, 0o755)
        os.environ.update(LM_IMAGE=image, LM_YARD=folder, LM_GROUP=group)
        return cell.alone([__file__, "--inside", *sys.argv[1:]], "--net")
    finally:
        cell.remove_groups(group)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    cell.main(outside)
