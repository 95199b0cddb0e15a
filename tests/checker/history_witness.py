"""Check "witness": the order that the server claims agrees with real time.

Every answer of a mutation carries op_seq, its place in the one order of commands. An operation that
was answered before another was sent stands before it, or at the same place when one command served
both (the repeat of a request). Scanning by op_seq and keeping M, the latest moment at which
anything so far was sent, a later place that was answered before M is a contradiction.
"""

from history_model import FOREVER, Violation

MUTATIONS = ("acquire", "release", "renew", "cancel")


class _Place:
    """All answers with one op_seq: the command lies between the first sending and first answer."""

    __slots__ = ("op_seq", "inv", "ret", "sent", "answered")

    def __init__(self, op_seq):
        self.op_seq, self.inv, self.ret = op_seq, FOREVER, FOREVER
        self.sent = self.answered = None

    def add(self, op, inv):
        if inv < self.inv:
            self.inv, self.sent = inv, op
        if op.ret < self.ret:
            self.ret, self.answered = op.ret, op


def _first_sent(ops):
    """When each request id was sent first; a failed attempt has no effect and does not count."""
    first = {}
    for op in ops:
        if op.request_id is not None and op.outcome != "fail":
            key = (op.op, op.owner, op.request_id)
            first[key] = min(first.get(key, FOREVER), op.inv)
    return first


def _places(ops):
    first, places = _first_sent(ops), {}
    for op in ops:
        if op.op in MUTATIONS and op.outcome == "ok" and op.op_seq is not None:
            inv = min(op.inv, first.get((op.op, op.owner, op.request_id), FOREVER))
            places.setdefault(op.op_seq, _Place(op.op_seq)).add(op, inv)
    return [places[op_seq] for op_seq in sorted(places)]


def check_witness(ops):
    found, latest = [], None
    for place in _places(ops):
        if latest is not None and place.ret < latest.inv:
            message = ("op_seq %d was answered before op_seq %d was sent"
                       % (place.op_seq, latest.op_seq))
            found.append(Violation("witness", "order_against_time", place.answered.name, message,
                                   [latest.sent, place.answered]))
        elif latest is None or place.inv > latest.inv:
            latest = place
    return found
