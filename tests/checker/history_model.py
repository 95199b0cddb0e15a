"""The parsed form of a recorded history, and what every check reports.

Invariants
  M1  All times are integer nanoseconds of one monotonic clock of one machine, so that comparing two
      of them is comparing real time.
  M2  An operation whose outcome is unknown has ret == FOREVER, whatever time was written for it:
      its effect may lie at any moment after inv, or nowhere.
  M3  Parsing never guesses. What it cannot understand raises HistoryError; a history that was read
      halfway must not be called clean.
"""

import json

FOREVER = 1 << 62
NS_PER_MS = 1_000_000

OPS = ("acquire", "release", "renew", "get", "cancel")
OUTCOMES = ("ok", "fail", "info")

DEFAULT_RESULT = {"acquire": None, "release": "released", "renew": "renewed",
                  "get": None, "cancel": None}
DENIED = ("held", "timed_out")
CANCELLED = ("cancelled", "canceled", "retired")


class HistoryError(Exception):
    """The history cannot be read; nothing may be concluded from it."""


class Op:
    """One operation of one client. Absent fields are None, except mode ("exclusive")."""

    __slots__ = ("line", "raw", "proc", "op", "name", "owner", "request_id", "mode", "ttl_ms",
                 "wait_ms", "inv", "ret", "outcome", "result", "token", "hold_id",
                 "lease_ms", "op_seq", "holders", "last_token", "final")

    @property
    def granted(self):
        return self.result == "granted" and self.token is not None and self.outcome == "ok"

    @property
    def released(self):
        return self.op == "release" and self.outcome == "ok" and self.result == "released"

    def __repr__(self):
        return "line %d: %s %s by %s -> %s/%s" % (self.line, self.op, self.name, self.owner,
                                                  self.outcome, self.result)


class Holder:
    """One row of the holders that a get answered."""

    __slots__ = ("owner", "token", "mode", "request_id")

    def __init__(self, owner, token, mode, request_id):
        self.owner, self.token, self.mode, self.request_id = owner, token, mode, request_id


class Violation:
    """One broken promise: which check, which kind, where, and the operations that prove it."""

    def __init__(self, check, kind, name, message, ops):
        self.check, self.kind, self.name, self.message = check, kind, name, message
        unique = {op.line: op for op in ops if op is not None}
        self.ops = [unique[line] for line in sorted(unique)]

    @property
    def lines(self):
        return [op.line for op in self.ops]

    def to_dict(self):
        return {"check": self.check, "kind": self.kind, "name": self.name,
                "message": self.message, "lines": self.lines, "ops": [op.raw for op in self.ops]}

    def __repr__(self):
        return "%s/%s on %s: %s (lines %s)" % (self.check, self.kind, self.name, self.message,
                                               self.lines)


class Settings:
    """What the checks may assume about clocks and leases.

    drift_ms    what a client takes off its own deadline
    rate_error  largest relative error between two clocks' rates
    ttl_max_ms  above this the server shortens a requested TTL, so it proves nothing
    """

    def __init__(self, drift_ms=50, rate_error=0.01, ttl_max_ms=300_000):
        self.drift_ns = int(drift_ms * NS_PER_MS)
        self.rate_error = rate_error
        self.ttl_max_ms = ttl_max_ms

    def surely_ns(self, lease_ms):
        """The part of a lease that has certainly not passed, on any allowed clock."""
        return int(lease_ms * NS_PER_MS * (1.0 - self.rate_error))


def _integer(raw, key, line, needed=False):
    value = raw.get(key)
    if value is None or value == "":
        if needed:
            raise HistoryError("line %d: %s is missing" % (line, key))
        return None
    if isinstance(value, bool) or isinstance(value, float):
        raise HistoryError("line %d: %s is not an integer" % (line, key))
    try:
        return int(value)
    except (TypeError, ValueError):
        raise HistoryError("line %d: %s is not an integer" % (line, key)) from None


def _positive(raw, key, line):
    """Tokens and op_seq: zero is the wire's way to say that there is none."""
    return _integer(raw, key, line) or None


def _choice(raw, key, allowed, line):
    value = raw.get(key)
    if value not in allowed:
        raise HistoryError("line %d: %s is %r, expected one of %s"
                           % (line, key, value, ", ".join(allowed)))
    return value


def _holders(raw, line):
    rows = raw.get("holders")
    if rows is None:
        return None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HistoryError("line %d: holders is not a list of objects" % line)
    return [Holder(row.get("owner"), _positive(row, "token", line),
                   row.get("mode") or "exclusive", row.get("request_id")) for row in rows]


def _times(op, raw, line):
    op.inv = _integer(raw, "inv", line, needed=True)
    ret = _integer(raw, "ret", line)
    if ret is not None and ret < op.inv:
        raise HistoryError("line %d: ret is before inv" % line)
    if ret is None and op.outcome != "info":
        raise HistoryError("line %d: outcome %s without ret" % (line, op.outcome))
    op.ret = FOREVER if op.outcome == "info" else ret


def parse_op(raw, line):
    """One object of the history as an Op. Raises HistoryError when a needed field is wrong."""
    op = Op()
    op.line, op.raw = line, raw
    op.op = _choice(raw, "op", OPS, line)
    op.outcome = _choice(raw, "outcome", OUTCOMES, line)
    op.name = raw.get("name")
    if not isinstance(op.name, str) or not op.name:
        raise HistoryError("line %d: name is missing" % line)
    op.proc, op.owner = raw.get("proc"), raw.get("owner")
    if op.op != "get" and not op.owner:
        raise HistoryError("line %d: owner is missing" % line)
    op.request_id, op.hold_id = raw.get("request_id") or None, raw.get("hold_id") or None
    op.mode = raw.get("mode") or "exclusive"
    op.ttl_ms, op.wait_ms = _integer(raw, "ttl_ms", line), _integer(raw, "wait_ms", line)
    op.result = raw.get("result")
    if op.outcome == "ok" and op.result is None:
        op.result = DEFAULT_RESULT[op.op]
    op.token, op.op_seq = _positive(raw, "token", line), _positive(raw, "op_seq", line)
    op.last_token = _positive(raw, "last_token", line)
    op.lease_ms = _integer(raw, "lease_remaining_ms", line)
    op.holders = _holders(raw, line)
    if op.outcome == "ok" and op.result == "granted" and op.token is None:
        raise HistoryError("line %d: granted without a token" % line)
    if op.op in ("release", "renew") and op.token is None and op.hold_id is None:
        raise HistoryError("line %d: %s names neither token nor hold_id" % (line, op.op))
    op.final = raw.get("event") == "final_get" or op.proc == -1
    _times(op, raw, line)
    return op


class History:
    """Operations in the order of the file, and the fault events between them."""

    def __init__(self):
        self.ops = []
        self.events = []

    def add(self, raw, line):
        if not isinstance(raw, dict):
            raise HistoryError("line %d: not an object" % line)
        if "event" in raw and "op" not in raw:
            if not isinstance(raw["event"], str):
                raise HistoryError("line %d: event is not a name" % line)
            self.events.append(raw)
        else:
            self.ops.append(parse_op(raw, line))

    def count(self, outcome):
        return sum(1 for op in self.ops if op.outcome == outcome)

    def by_name(self):
        names = {}
        for op in self.ops:
            names.setdefault(op.name, []).append(op)
        return names


def from_dicts(rows):
    """A history from an iterable of objects; line numbers count from 1."""
    history = History()
    for line, raw in enumerate(rows, 1):
        history.add(raw, line)
    return history


def _decode(text, line):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HistoryError("line %d: not JSON: %s" % (line, error)) from None


def load(path):
    """Reads a file of JSON lines. Raises HistoryError, also for a file without any operation."""
    history = History()
    try:
        with open(path, encoding="utf-8") as lines:
            for line, text in enumerate(lines, 1):
                if text.strip():
                    history.add(_decode(text, line), line)
    except (OSError, UnicodeDecodeError) as error:
        raise HistoryError("%s: %s" % (path, error)) from None
    if not history.ops:
        raise HistoryError("%s: no operation in it" % path)
    return history
