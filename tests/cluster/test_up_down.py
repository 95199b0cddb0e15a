"""scripts/up and scripts/down as a user calls them, with data, sockets and ports of their own.

The first one builds what is missing into build/, as it does for everybody.
"""

import os
import random
import shutil
import subprocess

from calls import Client
from cluster_case import ClusterCase, main
from region import ROOT, Region, clean_environment, is_alive, is_free, processes_of, wait_for


def free_offset():
    """What to add to all ports so that they are free and lie below those of other tests."""
    wanted = [base + 100 * node for base in (8080, 9090, 9091) for node in range(3)]
    for offset in random.Random(os.getpid()).sample(range(2000, 10600), 200):
        if all(is_free(port + offset) for port in wanted):
            return offset
    raise AssertionError("no offset with free ports")


def quiet_path():
    """PATH without the folders into which scripts/up would link lockctl."""
    kept = [folder for folder in os.environ["PATH"].split(":")
            if folder not in ("/usr/local/bin", os.path.expanduser("~/.local/bin"))]
    path = ":".join(kept)
    return path if shutil.which("cmake", path=path) else os.environ["PATH"]


class UpDown(ClusterCase):
    @classmethod
    def setUpClass(cls):
        cls.region = Region(1, start=False)  # for its folder and its guard
        offset = free_offset()
        cls.directory = os.path.join(cls.region.root, "up")
        cls.environment = {**clean_environment(), "LOCKMGR_UP_DIR": cls.directory,
                           "LOCKMGR_UP_RUN": os.path.join(cls.region.root, "r"),
                           "LOCKMGR_UP_OFFSET": str(offset), "HOME": cls.region.root,
                           "XDG_STATE_HOME": cls.region.root,
                           "PATH": quiet_path()}
        cls.address = "127.0.0.1:%d" % (9090 + offset)

    @classmethod
    def tearDownClass(cls):
        cls.script("down", "--wipe")
        super().tearDownClass()

    @classmethod
    def script(cls, name, *arguments):
        return subprocess.run([os.path.join(ROOT, "scripts", name), *arguments],
                              capture_output=True, text=True, timeout=500, env=cls.environment,
                              stdin=subprocess.DEVNULL)

    def up(self, *arguments):
        done = self.script("up", *arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.logs())
        return done.stdout

    def logs(self):
        text = ""
        for name in ("n1", "n2", "n3"):
            path = os.path.join(self.directory, name, "log")
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += "\n---- %s\n%s" % (name, file.read()[-3000:])
        return text

    def supervisors(self):
        return [pid for pid in processes_of(self.directory) if is_alive(pid)]

    def test_up_and_down(self):
        words = self.up("--nodes", "3")
        self.assertIn("the region serves", words)
        self.assertEqual(len(self.supervisors()), 3)
        client = Client(self.address)
        held = self.assert_granted(client.acquire("kept", "a", ttl_ms=300000))
        before = self.supervisors()

        words = self.up()
        self.assertIn("runs already", words)
        self.assertEqual(self.supervisors(), before)

        other = self.script("up", "--nodes", "1")
        self.assertNotEqual(other.returncode, 0)
        self.assertIn("down --wipe", other.stderr + other.stdout)
        self.assertEqual(self.supervisors(), before)

        down = self.script("down")
        self.assertEqual(down.returncode, 0, down.stdout + down.stderr)
        self.assertNotIn("killed", down.stdout)
        wait_for("no process is left", lambda: not [
            pid for pid in processes_of(self.region.root) if is_alive(pid)], 5)

        self.up("--threads")
        self.assertEqual(len(self.supervisors()), 3)
        self.assertEqual({os.path.basename(os.readlink("/proc/%d/exe" % pid))
                          for pid in self.supervisors()}, {"lockmgr-node"})
        self.assertIn("runs already", self.up())
        info = client.get("kept")
        self.assertEqual([(h.owner, h.token) for h in info.holders], [("a", held.token)])
        client.close()

        wiped = self.script("down", "--wipe")
        self.assertEqual(wiped.returncode, 0, wiped.stdout + wiped.stderr)
        self.assertFalse(os.path.exists(self.directory))
        again = self.script("down")
        self.assertEqual(again.returncode, 0)
        self.assertIn("nothing was running", again.stdout)


if __name__ == "__main__":
    main()
