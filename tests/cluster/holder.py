"""session_holder for tests: a session that holds many locks by the C library, in a process."""

import json
import os
import queue
import subprocess
import threading
import time

import region

PROGRAM = os.path.join(os.path.dirname(region.BIN), "tests", "session_holder")


class Holder:
    def __init__(self, addresses, prefix, locks, ttl_ms, way="thread", timeout_ms=20000):
        self.process = subprocess.Popen(
            [PROGRAM, addresses, prefix, str(locks), str(ttl_ms), way,
             str(timeout_ms)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=region.clean_environment())
        self._lines, self._seen = queue.Queue(), []
        self.errors = ""
        self._threads = [threading.Thread(target=self._read, daemon=True),
                         threading.Thread(target=self._read_errors, daemon=True)]
        for thread in self._threads:
            thread.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put((time.monotonic(), line.strip()))
        self._lines.put((time.monotonic(), None))

    def _read_errors(self):
        self.errors = self.process.stderr.read()

    def wait_line(self, begin, seconds=30):
        """(when, line) of the next line that begins so; others are kept in .seen()."""
        end = time.monotonic() + seconds
        while True:
            try:
                when, line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise region.Trouble("no line %s within %g s" % (begin, seconds)) from None
            if line is None:
                raise region.Trouble("session_holder ended without %s: %s" % (begin, self.errors))
            if line.startswith(begin):
                return when, line
            self._seen.append(line)

    def ready(self, seconds=60):
        """Until all is held; returns the session's id."""
        return self.wait_line("ready", seconds)[1].split()[1]

    def end(self, seconds=60):
        """(exit code, report): it stops, tells and closes its session."""
        self.process.stdin.close()
        report = json.loads(self.wait_line("{", seconds)[1])
        code = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(seconds)
        if "Sanitizer" in self.errors or "runtime error" in self.errors:
            raise region.Trouble(self.errors)
        return code, report

    def seen(self):
        return self._seen

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
