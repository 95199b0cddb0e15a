"""The Debian packages that cpack makes: what is in them, what lintian says, and their installation,
upgrade and removal in a copy of this machine's file system, where a node is started from what was
installed. usage: test_package.py BUILD_DIRECTORY [unittest's arguments]"""

import atexit
import glob
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import alone

FULL = os.environ.get("LM_TEST_FULL") == "1"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLE = os.path.join(ROOT, "clients", "c", "client_example.c")
LINTIAN = os.path.join(ROOT, "scripts", "lintian")
SERVER = ("lockmgr-raft", "lockmgr-lock", "lockmgr-gateway", "lockmgr-frontend", "lockmgr-health", "lockmgr-node",
          "lockmgrd")

# Stands in for systemd: notes what it is asked, and knows one running node.
SYSTEMCTL = """#!/bin/sh
echo "$(basename "$0") $*" >>/run/asked
case $1 in list-units) echo "lockmgr@n1.service loaded active running lockmgr" ;; esac
"""


def text_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


class Packages(unittest.TestCase):
    build, folder, debs = None, None, []

    @classmethod
    def make(cls, build):
        cls.build, cls.folder = build, tempfile.mkdtemp(prefix="lmdeb", dir="/tmp")
        atexit.register(shutil.rmtree, cls.folder)
        done = subprocess.run(["cpack", "-G", "DEB", "-B", cls.folder], cwd=build, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        cls.debs = sorted(glob.glob(os.path.join(cls.folder, "*.deb")))
        assert done.returncode == 0 and len(cls.debs) == 3, done.stdout


class Content(Packages):
    def setUp(self):
        self.dev, self.tools, self.server = self.debs

    def test_names(self):
        for deb, name in (self.dev, "liblockmgr-dev"), (self.tools, "lockmgr-tools"), (self.server, "lockmgr"):
            self.assertEqual(text_of("dpkg-deb", "-f", deb, "Package").strip(), name)
            self.assertRegex(os.path.basename(deb), r"^%s_\d+\.\d+\.\d+-1_\w+\.deb$" % name)

    def test_libraries_are_found_by_what_programs_need(self):
        depends = text_of("dpkg-deb", "-f", self.server, "Depends")
        for name in "libc6 (>=", "libgrpc", "libczmq", "libraft0 (>= 0.22.1)", "libraft0 (<< 0.23)", "libssl":
            self.assertIn(name, depends)
        self.assertNotIn("libraft", text_of("dpkg-deb", "-f", self.tools, "Depends"))
        for name in "libgrpc-dev", "libprotobuf-c-dev", "libssl-dev":
            self.assertIn(name, text_of("dpkg-deb", "-f", self.dev, "Depends"))

    def test_files_have_their_places(self):
        listed = text_of("dpkg-deb", "-c", self.server)
        for name in SERVER:
            self.assertIn(" ./usr/libexec/lockmgr/%s\n" % name, listed)
        for path in ("/usr/sbin/lockmgrd -> ../libexec/lockmgr/lockmgrd", "/etc/lockmgr/lockmgr.cfg",
                     "/lib/systemd/system/lockmgr.service", "/lib/systemd/system/lockmgr@.service",
                     "/usr/lib/sysusers.d/lockmgr.conf", "/usr/share/man/man8/lockmgrd.8.gz",
                     "/usr/share/doc/lockmgr/copyright"):
            self.assertIn(" .%s\n" % path, listed)
        listed += text_of("dpkg-deb", "-c", self.tools)
        self.assertIn(" ./usr/bin/lockctl\n", listed)
        self.assertIn(" ./usr/share/man/man1/lockctl.1.gz\n", listed)
        self.assertNotIn("/usr/local", listed)
        self.assertNotIn("lockmgr-fill", listed, "a tool of the tests")
        self.assertFalse([line for line in listed.splitlines() if not line.split()[1] == "root/root"])

    def test_a_plain_installation_has_no_file_of_the_packages(self):
        folder = os.path.join(self.folder, "plain")
        subprocess.run(["cmake", "--install", self.build, "--prefix", folder], check=True, timeout=120,
                       stdout=subprocess.DEVNULL)
        self.assertEqual(sorted(os.listdir(folder)), ["bin", "include", "lib", "libexec", "sbin", "share"])
        self.assertEqual(os.listdir(folder + "/share"), ["man"])
        self.assertEqual(sorted(os.listdir(folder + "/libexec/lockmgr")), sorted(SERVER))
        self.assertRegex(text_of(folder + "/sbin/lockmgrd", "--version"), r"^lockmgrd \d")

    def test_headers_need_nothing_but_each_other(self):
        folder = os.path.join(self.folder, "headers")
        subprocess.run(["dpkg-deb", "-x", self.dev, folder], check=True)
        include = folder + "/usr/include/lockmgr/"
        for name in os.listdir(include):
            if name.endswith(".h"):
                subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", include,
                                "-include", include + name, "-x", "c", "/dev/null"], check=True)
        files = re.findall(r" \./usr/lib/\S*?([^/\s]+)\n", text_of("dpkg-deb", "-c", self.dev))
        self.assertEqual(sorted(files), ["liblockmgr.a", "lockmgr.pc"])

    def test_what_the_administrator_edits_is_a_conffile(self):
        folder = os.path.join(self.folder, "control")
        subprocess.run(["dpkg-deb", "-e", self.server, folder], check=True)
        with open(os.path.join(folder, "conffiles"), encoding="utf-8") as file:
            conffiles = file.read().split()
        in_etc = re.findall(r" \.(/etc/\S*[^/\s])\n", text_of("dpkg-deb", "-c", self.server))
        self.assertEqual(conffiles, in_etc)

    def test_compressed_files_are_whole(self):
        folder = os.path.join(self.folder, "files")
        for deb in self.debs:
            subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
        for path in glob.glob(folder + "/**/*.gz", recursive=True):
            with gzip.open(path) as file:
                self.assertGreater(len(file.read()), 50, path)
        with gzip.open(folder + "/usr/share/doc/lockmgr/changelog.Debian.gz", "rt") as file:
            self.assertIn("lockmgr (%s)" % text_of("dpkg-deb", "-f", self.server, "Version").strip(), file.read())

    @unittest.skipUnless(FULL or shutil.which("lintian"), "there is no lintian")
    def test_lintian(self):
        done = subprocess.run([LINTIAN, "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0",
                               *self.debs], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, ""))


class Installed(Packages):
    @classmethod
    def setUpClass(cls):
        cls.system = alone.System()
        for deb in cls.debs:
            shutil.copy(deb, cls.system.path("tmp"))

    @classmethod
    def tearDownClass(cls):
        cls.system.close()

    def install(self):
        return self.system.run("sh", "-c", "dpkg -i /tmp/*.deb").stdout

    def exists(self, path):
        return os.path.lexists(self.system.path(path))

    def start(self):
        """What the unit would do: its directories, its user, its command line."""
        self.system.run("install", "-d", "-o", "lockmgr", "-g", "lockmgr", "-m", "0700", "/var/lib/lockmgr",
                        "/run/lockmgr")
        self.log = open(self.system.path("tmp/log"), "ab")
        self.addCleanup(self.log.close)
        return subprocess.Popen(["chroot", "--userspec=lockmgr:lockmgr", self.system.root, "/usr/sbin/lockmgrd"],
                                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def wait_healthy(self, process):
        end = time.monotonic() + 60
        while self.system.run("lockctl", "-q", "--timeout", "2s", "health", check=False).returncode != 0:
            with open(self.system.path("tmp/log"), encoding="utf-8") as file:
                log = file.read()[-3000:]
            self.assertIsNone(process.poll(), log)
            self.assertLess(time.monotonic(), end, log)
            time.sleep(0.1)

    def be_watched(self):
        """From here on maintainer scripts believe that systemd runs."""
        os.makedirs(self.system.path("run/systemd/system"), exist_ok=True)
        for name in "systemctl", "deb-systemd-invoke":
            path = self.system.path("usr/bin/" + name)
            if os.path.lexists(path):
                os.unlink(path)
            with open(path, "w", encoding="utf-8") as file:
                file.write(SYSTEMCTL)
            os.chmod(path, 0o755)

    def asked(self):
        path = self.system.path("run/asked")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        os.unlink(path)
        return [line for line in lines if "list-units" not in line]

    def test_from_installation_to_purge(self):
        self.install()
        account = self.system.run("getent", "passwd", "lockmgr").stdout.split(":")
        self.assertEqual(account[5:], ["/var/lib/lockmgr", "/usr/sbin/nologin\n"])
        said = self.system.run("lockmgrd", "--check").stdout
        self.assertIn("configuration is valid", said)
        self.check_units()
        self.check_serves()
        self.check_upgrade()
        self.check_removal()
        self.check_purge()

    def check_units(self):
        done = self.system.run("systemd-analyze", "verify", "lockmgr.service", "lockmgr@n1.service", check=False)
        said = [line for line in done.stdout.splitlines() if "lockmgr" in line]
        self.assertEqual(said, [])

    def check_serves(self):
        process = self.start()
        self.wait_healthy(process)
        self.system.run("lockctl", "acquire", "installed", "--owner", "me", "--ttl", "200s")
        process.terminate()
        self.assertEqual(process.wait(20), 0)
        process = self.start()
        self.wait_healthy(process)
        self.assertIn('"me"', self.system.run("lockctl", "get", "installed", "-o", "json").stdout)
        self.check_library()
        with open(self.system.path("run/lockmgr/status"), encoding="utf-8") as file:
            pids = [row["pid"] for row in json.load(file)["children"]]
        for pid in pids:
            self.assertIn("/usr/libexec/lockmgr/lockmgr-", os.readlink("/proc/%d/exe" % pid))
        process.terminate()
        self.assertEqual(process.wait(20), 0)

    def check_library(self):
        """A program of somebody else's, compiled with what the package brought."""
        shutil.copy(EXAMPLE, self.system.path("tmp/mine.c"))
        self.system.run("sh", "-c", "gcc -std=gnu11 -Wall -Werror -o /tmp/mine /tmp/mine.c "
                                    "$(pkg-config --cflags --libs lockmgr)")
        said = self.system.run("/tmp/mine", "127.0.0.1:9090", "mine").stdout
        self.assertEqual(re.findall(r"(\d) under token [1-9]", said), ["1", "2", "3"])
        self.assertEqual(self.system.run("/tmp/mine", "127.0.0.1:9090", "installed", check=False).returncode, 1)

    def check_upgrade(self):
        config = self.system.path("etc/lockmgr/lockmgr.cfg")
        with open(config, "a", encoding="utf-8") as file:
            file.write("# mine\n")
        self.be_watched()
        self.install()
        self.assertEqual(self.asked(), ["systemctl --system daemon-reload",
                                        "deb-systemd-invoke restart lockmgr@n1.service"])
        with open(config, encoding="utf-8") as file:
            self.assertIn("# mine", file.read())

    def check_removal(self):
        self.system.run("dpkg", "-r", "lockmgr", "lockmgr-tools", "liblockmgr-dev")
        asked = self.asked()
        self.assertEqual(asked[0], "deb-systemd-invoke stop lockmgr@n1.service")
        self.assertEqual(asked[-1], "systemctl --system daemon-reload")
        for path in ("/usr/sbin/lockmgrd", "/usr/libexec/lockmgr", "/usr/bin/lockctl", "/usr/share/doc/lockmgr",
                     "/lib/systemd/system/lockmgr.service", "/usr/lib/sysusers.d/lockmgr.conf"):
            self.assertFalse(self.exists(path), path)
        self.assertTrue(self.exists("/etc/lockmgr/lockmgr.cfg"))
        self.assertTrue(os.listdir(self.system.path("var/lib/lockmgr")))

    def check_purge(self):
        said = self.system.run("dpkg", "-P", "lockmgr").stdout
        self.assertIn("The data in /var/lib/lockmgr are kept", said)
        self.assertFalse(self.exists("/etc/lockmgr"))
        self.assertTrue(os.listdir(self.system.path("var/lib/lockmgr")))


if __name__ == "__main__":
    for needed in "cpack", "dpkg-shlibdeps":
        if not shutil.which(needed):
            print("there is no %s: skipped" % needed)
            sys.exit(alone.SKIPPED)
    if FULL and not shutil.which("lintian"):
        subprocess.run([LINTIAN, "--version"], check=True, timeout=900)  # while there is a network
    alone.enter(root_wanted=True)
    sys.stdout.reconfigure(line_buffering=True)
    Packages.make(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
