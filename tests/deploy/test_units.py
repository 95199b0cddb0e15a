"""deploy/systemd, by systemd's own tools and by the form of the files."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from unit_file import allowed_calls, read_unit, values

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = os.path.join(ROOT, "deploy", "systemd")
NAMES = ("lockmgr.service", "lockmgr@.service")
# On systemd's scale from 0 (nothing can go wrong) to 10; what is left is mostly that a node uses the network.
EXPOSURE_MAX = 1.2


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
class ByItsTools(unittest.TestCase):
    def test_verify_finds_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "lockmgrd")
            shutil.copy("/bin/true", program)
            for name in NAMES:
                with open(os.path.join(UNITS, name), encoding="utf-8") as file:
                    text = file.read().replace("/usr/sbin/lockmgrd", program)
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            done = analyze("verify", "--man=no", os.path.join(folder, "lockmgr.service"),
                           os.path.join(folder, "lockmgr@n1.service"))
        said = [line for line in (done.stdout + done.stderr).splitlines() if "lockmgr" in line]
        self.assertEqual((said, done.returncode), ([], 0), done.stderr)

    def test_verify_finds_what_is_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "lockmgr.service")
            with open(os.path.join(UNITS, "lockmgr.service"), encoding="utf-8") as file:
                text = file.read().replace("/usr/sbin/lockmgrd", "/bin/true")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("KillMode=mixed", "KillMode=mixd"))
            self.assertIn("kill mode", analyze("verify", "--man=no", path).stderr)

    def test_exposure(self):
        for name in NAMES:
            done = analyze("security", "--offline=true", "--no-pager", os.path.join(UNITS, name))
            found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
            self.assertLessEqual(float(found.group(1)), EXPOSURE_MAX, done.stdout)

    def test_the_filter_leaves_out_what_no_node_does(self):
        left = allowed_calls(read_unit(os.path.join(UNITS, "lockmgr.service"))["Service"])
        for name in "mount", "ptrace", "setuid", "chroot", "bpf", "init_module", "mlockall", "reboot", "add_key":
            self.assertNotIn(name, left)
        for name in "execve", "io_submit", "signalfd4", "accept4", "fdatasync", "prctl":
            self.assertIn(name, left)


class Files(unittest.TestCase):
    def test_the_template_differs_in_names_only(self):
        one, many = (read_unit(os.path.join(UNITS, name)) for name in NAMES)
        self.assertEqual(list(one), list(many))
        for section in one:
            plain = [(key, re.sub(r"\blockmgr-%i|\blockmgr/%i\.cfg", lambda m: "lockmgr/lockmgr.cfg"
                                  if "/" in m.group(0) else "lockmgr", value).replace(", node %i", ""))
                     for key, value in many[section] if key not in ("Environment", "DefaultInstance")]
            self.assertEqual(one[section], plain)
        self.assertEqual(values(many["Service"], "Environment"),
                         ["LOCKMGR_DATA_DIR=/var/lib/lockmgr-%i LOCKMGR_RUN_DIR=/run/lockmgr-%i"])

    def test_directories_are_the_defaults_of_the_configuration(self):
        service = read_unit(os.path.join(UNITS, "lockmgr.service"))["Service"]
        with open(os.path.join(ROOT, "deploy", "lockmgr.cfg"), encoding="utf-8") as file:
            config = file.read()
        for key, form in (("StateDirectory", 'data_dir = "/var/lib/%s";'),
                          ("RuntimeDirectory", 'run_dir = "/run/%s";')):
            self.assertIn(form % values(service, key)[0], config)
        with open(os.path.join(UNITS, "lockmgr.sysusers"), encoding="utf-8") as file:
            self.assertIn("u %s - " % values(service, "User")[0], file.read())

    def test_a_stop_is_waited_for(self):
        with open(os.path.join(ROOT, "deploy", "lockmgr.cfg"), encoding="utf-8") as file:
            stop_ms = int(re.search(r"^stop_timeout_ms = (\d+);", file.read(), re.M).group(1))
        service = read_unit(os.path.join(UNITS, "lockmgr.service"))["Service"]
        self.assertGreaterEqual(int(values(service, "TimeoutStopSec")[0]) * 1000, stop_ms + 5000)

    def test_what_no_restart_heals_is_not_restarted(self):
        with open(os.path.join(ROOT, "lib", "base", "base_exit.h"), encoding="utf-8") as file:
            codes = dict(re.findall(r"LM_EXIT_(\w+) = (\d+)", file.read()))
        service = read_unit(os.path.join(UNITS, "lockmgr.service"))["Service"]
        self.assertEqual(values(service, "RestartPreventExitStatus")[0].split(),
                         [codes[name] for name in ("USAGE", "CONFIG", "DAMAGED")])

    def test_the_manual_that_is_named_is_there(self):
        for name in NAMES:
            pages = " ".join(values(read_unit(os.path.join(UNITS, name))["Unit"], "Documentation"))
            self.assertIn("man:lockmgrd(8)", pages)
            self.assertTrue(os.path.exists(os.path.join(ROOT, "supervisor", "lockmgrd.8")))
            page = re.search(r"/usr/share/doc/lockmgr/(\S+)", pages).group(1)
            self.assertTrue(os.path.exists(os.path.join(ROOT, "docs", page)), page)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
