"""What the parts of scripts/test-kubernetes need of kubectl, and of what is said."""

import json
import re
import subprocess
import time
from datetime import datetime


class Failed(Exception):
    pass


def run(*command, text=None, check=True, timeout=600):
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False,
                          timeout=timeout)
    if check and done.returncode != 0:
        raise Failed("%s: %s" % (" ".join(command), (done.stderr or done.stdout).strip()))
    return done


def kubectl(*words, **how):
    return run("kubectl", *words, **how)


def get(*words):
    return json.loads(kubectl("get", *words, "-o", "json").stdout)


def until(what, look, seconds=120, pause=0.5):
    """The first true answer of look(); exceptions count as none."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            answer = look()
            if answer:
                return answer
        except (Failed, KeyError, ValueError, subprocess.TimeoutExpired) as error:
            last = error
        time.sleep(pause)
    raise Failed("%s: not within %d s%s" % (what, seconds, "; last: %s" % last if last else ""))


def find(tree, key):
    """The first value of a key, anywhere in what was said."""
    if isinstance(tree, dict):
        if tree.get(key) not in (None, ""):
            return tree[key]
        tree = list(tree.values())
    if isinstance(tree, list):
        for one in tree:
            found = find(one, key)
            if found is not None:
                return found
    return None


def metric(text, name, **labels):
    """Sum of the samples of a metric that have these labels; 0 if there is none."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith((name + "{", name + " ")) and
               all('%s="%s"' % pair in line for pair in labels.items()))


def times_of(log, words):
    """When lines with these words were logged, in seconds since 1970."""
    found = []
    for line in log.splitlines():
        when = re.search(r"\d{4}-\d\d-\d\dT[\d:.]+(?=Z)", line)
        if when and words in line:
            found.append(datetime.fromisoformat(when[0] + "+00:00").timestamp())
    return found
