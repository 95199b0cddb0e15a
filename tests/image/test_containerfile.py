#!/usr/bin/python3
"""deploy/Containerfile, built by buildah on a bootstrapped Debian, makes what scripts/image makes: the
same files with the same modes and owners, run in the same way. LM_BIN has the programs.
"""

import hashlib
import json
import os
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
# What a pull would bring, under a name that nobody pulls.
BASE = "localhost/debian:bookworm-slim"


def looks_of(tree):
    """{path: what it is}. Of programs, which another compilation made, not the content."""
    found = {}
    for folder, folders, files in os.walk(tree):
        for name in folders + files:
            path = os.path.join(folder, name)
            seen, short = os.lstat(path), os.path.relpath(path, tree)
            content = ""
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path) and not short.startswith("usr/bin/"):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            found[short] = "%o %d:%d %s" % (seen.st_mode, seen.st_uid, seen.st_gid, content)
    return found


class Containerfile(unittest.TestCase):
    maxDiff = 10000

    def buildah(self, *arguments, echo=False):
        command = ["buildah", "--root", os.path.join(self.folder, "storage"), "--runroot",
                   os.path.join(self.folder, "run"), "--storage-driver", "overlay", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if echo or done.returncode != 0:
            print((done.stdout + done.stderr)[-5000:])
        self.assertEqual(done.returncode, 0, arguments)
        return done.stdout.strip()

    def setUp(self):
        self.folder = os.environ["LM_YARD"]
        self.image = os.path.join(self.folder, "image")

    def import_base(self):
        """As `docker import` and `podman import` do."""
        one = self.buildah("from", "scratch")
        self.buildah("add", one, os.path.join(self.folder, "base.tar.gz"), "/")
        self.buildah("commit", one, BASE)
        self.buildah("rm", one)

    def git(self, *arguments):
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
        return done.stdout.strip() or "unknown"

    def config_of_archive(self):
        with tarfile.open(os.path.join(self.image, "image.tar")) as tar:
            def read(name):
                return json.loads(tar.extractfile(name).read())
            return read(read("manifest.json")[0]["Config"])["config"]

    def test_same_as_scripts_image(self):
        self.import_base()
        begin = time.monotonic()
        self.buildah("build", "--isolation", "chroot", "--pull-never", "--layers=false", "--build-arg", "BASE=" + BASE,
                     "--build-arg", "REVISION=" + self.git("rev-parse", "HEAD"),
                     "--build-arg", "CREATED=" + self.git("show", "-s", "--format=%cI"),
                     "-f", "deploy/Containerfile", "-t", "lockmgr", ".")
        print("buildah took %.0f s" % (time.monotonic() - begin))
        one = self.buildah("from", "--pull-never", "localhost/lockmgr")
        config = json.loads(self.buildah("inspect", one))["OCIv1"]["config"]
        config["Labels"].pop("io.buildah.version")
        self.assertEqual(config, self.config_of_archive())
        self.assertEqual(looks_of(self.buildah("mount", one)), looks_of(os.path.join(self.image, "root")))


def outside():
    sys.stdout.reconfigure(line_buffering=True)
    if os.geteuid() != 0 or not shutil.which("buildah") or not shutil.which("mmdebstrap"):
        print("skipped: needs root, buildah and mmdebstrap")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="lmc")
    try:
        image = os.path.join(ROOT, "scripts", "image")
        for arguments in (["--base", os.path.join(folder, "base.tar.gz")],
                          [*cell.whose_programs(BIN), "--output", os.path.join(folder, "image")]):
            subprocess.run([image, *arguments], check=True, stdin=subprocess.DEVNULL)
        os.environ["LM_YARD"] = folder
        return cell.alone([__file__, "--inside", *sys.argv[1:]])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    cell.main(outside)
