#!/usr/bin/python3
"""Breaks each rule of the house in a tree made for it and expects check_house.py to say so."""
import os
import subprocess
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_house.py")


def findings(files):
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["git", "init", "-q", root], check=True)
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        run = subprocess.run(["/usr/bin/python3", CHECK, root], capture_output=True, text=True, check=False)
        return run.returncode, run.stdout


class Breaches(unittest.TestCase):
    def breach(self, files, words):
        code, out = findings(files)
        self.assertEqual(code, 1, out)
        self.assertIn(words, out)

    def test_clean_tree_passes(self):
        code, out = findings({"lib/core/core_a.c": '#include "base_a.h"\n', "lib/base/base_a.h": "\n"})
        self.assertEqual(code, 0, out)

    def test_core_must_not_include_wire(self):
        self.breach({"lib/core/core_a.c": '#include "wire_a.h"\n', "lib/wire/wire_a.h": "\n"},
                    "lib/core may not include wire_a.h of lib/wire")

    def test_actors_must_not_include_each_other(self):
        self.breach({"actors/raft/raft_a.c": '#include "lock_a.h"\n', "actors/lock/lock_a.h": "\n"},
                    "actors/raft may not include lock_a.h of actors/lock")

    def test_every_door_has_its_keeper(self):
        for header in ("czmq.h", "protobuf-c/protobuf-c.h", "raft.h", "uv.h", "raft/uv.h", "grpc/grpc.h",
                       "libconfig.h", "microhttpd.h", "lockmgr/v1/common.pb-c.h"):
            with self.subTest(header):
                self.breach({"lib/base/base_a.c": f"#include <{header}>\n"}, "may only be included by")

    def test_names_are_unique(self):
        self.breach({"lib/base/a.c": "\n", "lib/core/a.c": "\n"}, "has the same name")

    def test_long_lines_and_files(self):
        self.breach({"lib/base/a.c": "/" * 101 + "\n"}, "101 columns")
        self.breach({"lib/base/a.c": "\n" * 801}, "801 lines")


unittest.main()
