"""Writes a history: one JSON object per line, flushed at once, from any number of threads.

    recorder = Recorder(path)
    call = recorder.begin(proc=7, op="acquire", name="l/17", owner="c7", request_id="r1")
    ...                                            # send, wait for the answer
    recorder.end(call, "ok", result="granted", token=123, lease_remaining_ms=4990)

Invariants
  R1  inv is read before the call can be sent and ret after its answer is there; both come from
      CLOCK_MONOTONIC, which all processes of a machine share.
  R2  Every operation that was begun is in the file in the end: close() writes those without an
      answer as unknown. A history that leaves out calls that may have had an effect proves nothing.
  R3  Lines of different threads never mix.
"""

import json
import threading
import time


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Recorder:
    def __init__(self, path):
        self._file = open(path, "w", encoding="utf-8")
        self._lock = threading.Lock()
        self._open = {}

    def record(self, op):
        """Writes one finished operation."""
        self._write(op)

    def event(self, event, node=None, at=None, **fields):
        """Writes a fault or another mark, at this moment unless at is given."""
        self._write({"event": event, "node": node, "at": now_ns() if at is None else at, **fields})

    def begin(self, **fields):
        """Notes an operation that is about to be sent; returns it for end()."""
        op = dict(fields)
        with self._lock:
            self._open[id(op)] = op
        op["inv"] = now_ns()
        return op

    def end(self, op, outcome, **fields):
        """Writes the operation with its answer; "info" means that the outcome is unknown."""
        at = now_ns()
        line = {**op, **fields, "outcome": outcome, "ret": None if outcome == "info" else at}
        with self._lock:
            if self._open.pop(id(op), None) is not None:
                self._write_locked(line)

    def close(self):
        """Writes what is still open as unknown, and closes the file. May be called twice."""
        with self._lock:
            for op in self._open.values():
                if "inv" in op:
                    self._write_locked({**op, "outcome": "info", "ret": None})
            self._open.clear()
            self._file.close()

    def _write(self, line):
        with self._lock:
            self._write_locked(line)

    def _write_locked(self, line):
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
