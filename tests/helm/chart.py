"""The chart, rendered by real Helm."""

import functools
import glob
import json
import os
import re
import subprocess
import sys
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHART = os.path.join(ROOT, "helm", "lockmgr")
HELM = os.path.join(ROOT, "scripts", "helm")
HELMS = ("3", "4")
KUBES = ["1.%d.0" % minor for minor in range(19, 35)]
ISTIO = ("networking.istio.io/v1beta1", "security.istio.io/v1beta1")
NAMESPACE = "locks"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.lru_cache(maxsize=None)
def program(version):
    """Path of a Helm. Skips the test where it cannot be had."""
    done = subprocess.run([HELM, "where", version], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        raise unittest.SkipTest("Helm cannot be had")
    return done.stdout.strip()


def helm(*words, version="3", text=None):
    """Runs it; returns status, output and errors."""
    done = subprocess.run([program(version), *words], input=text, text=True, capture_output=True,
                          check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def values_files():
    """Every file of values that the chart has, ready to be named with -f."""
    return sorted(glob.glob(CHART + "/ci/*-values.yaml") + glob.glob(CHART + "/values-*.yaml"))


def template(*words, files=(), values=None, kube="1.34.0", apis=(), version="3", chart=CHART,
             release="lockmgr", namespace=NAMESPACE):
    command = ["template", release, chart, "-n", namespace, "--kube-version", kube, *words]
    for file in files:
        command += ["-f", file]
    for api in apis:
        command += ["--api-versions", api]
    if values is not None:
        command += ["-f", "-"]
    return helm(*command, version=version, text=None if values is None else json.dumps(values))


def render(*words, **how):
    """The objects of a rendering that must succeed."""
    status, said, errors = template(*words, **how)
    if status != 0:
        raise AssertionError(errors)
    return [one for one in yaml.load_all(said, Loader=LOADER) if one]


def problems(objects):
    """What the models of Kubernetes, Istio and the Prometheus operator do not like."""
    done = subprocess.run([HELM, "models"], input=json.dumps(objects), text=True,
                          capture_output=True, check=True, timeout=120)
    lines = done.stdout.splitlines()
    assert lines and int(lines[-1]) == len(objects), done.stdout + done.stderr
    return lines[:-1]


class Objects:
    """What was rendered, by kind and name."""

    def __init__(self, *words, **how):
        self.all = render(*words, **how)

    def kinds(self):
        return sorted(one["kind"] for one in self.all if "helm.sh/hook" not in
                      one["metadata"].get("annotations", {}))

    def of(self, kind, name=None):
        found = [one for one in self.all if one["kind"] == kind and
                 name in (None, one["metadata"]["name"])]
        assert len(found) == 1, "%d of %s %s" % (len(found), kind, name)
        return found[0]

    @property
    def stateful_set(self):
        return self.of("StatefulSet")

    @property
    def pod(self):
        return self.stateful_set["spec"]["template"]["spec"]

    @property
    def container(self):
        return self.pod["containers"][0]

    @property
    def services(self):
        """The load-balanced one, and the headless one."""
        both = [one for one in self.all if one["kind"] == "Service"]
        return sorted(both, key=lambda one: one["spec"].get("clusterIP") == "None")

    @property
    def config_text(self):
        return next(one["data"]["lockmgr.cfg"] for one in self.all
                    if one["kind"] == "ConfigMap" and "lockmgr.cfg" in one.get("data", {}))

    @property
    def config(self):
        return read_config(self.config_text)


def read_config(text):
    """The settings of a lockmgr.cfg: path -> number or text; lists as lists."""
    text = re.sub(r"(?m)#.*$", "", text)
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[\w.]+|[{}()\[\]=;,]', text)
    found = {}

    def value(path):
        token = tokens.pop(0)
        if token == "{":
            group = {}
            while tokens[0] != "}":
                name = tokens.pop(0)
                assert tokens.pop(0) == "=", name
                group[name] = value(path + [name])
                assert tokens.pop(0) == ";", name
            tokens.pop(0)
            return group
        if token in "([":
            many = []
            while tokens[0] not in ")]":
                many.append(value(path))
                if tokens[0] == ",":
                    tokens.pop(0)
            tokens.pop(0)
            return many
        return json.loads(token)

    def flatten(group, path):
        for name, one in group.items():
            if isinstance(one, dict):
                flatten(one, path + [name])
            else:
                found[".".join(path + [name])] = one
    tokens.append("}")
    tokens.insert(0, "{")
    flatten(value([]), [])
    return found


def main():
    program = unittest.main(verbosity=1, exit=False)
    result = program.result
    if result.wasSuccessful() and result.testsRun and len(result.skipped) == result.testsRun:
        print("skipped: %s" % result.skipped[0][1])
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
