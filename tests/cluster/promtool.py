"""Prometheus's own tool, which knows better than we do what is right."""

import os
import subprocess
import unittest

from region import ROOT

PROMTOOL = os.path.join(ROOT, "scripts", "promtool")


def promtool(*arguments, text=None, folder=None):
    """Runs it; returns status, output and errors. Skips the test where it cannot be had."""
    if subprocess.run([PROMTOOL, "--version"], capture_output=True, timeout=300).returncode != 0:
        raise unittest.SkipTest("promtool is missing and cannot be had")
    done = subprocess.run([PROMTOOL, *arguments], input=text, text=True, capture_output=True,
                          timeout=120, cwd=folder)
    return done.returncode, done.stdout, done.stderr
