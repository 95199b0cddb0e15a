"""Checks "tokens" and "request_id": the numbers that clients are given.

tokens      Per name, a grant that was asked for after another was answered has
              - a greater token, when the owner differs and one of the two is exclusive,
              - a greater token, when the earlier hold was exclusive and its release was answered,
              - in any case not a smaller one.
            A token of an exclusive hold names one owner for ever.
request_id  One id of one owner has one effect: all its grants carry the same token, and an id whose
            cancellation was answered is not granted to a later call.
"""

from history_model import CANCELLED, Violation


class _Highest:
    """The highest token so far, and the highest of any other owner."""

    __slots__ = ("best", "other")

    def __init__(self):
        self.best = self.other = None

    def add(self, op):
        if self.best is None or op.token > self.best.token:
            if self.best is not None and self.best.owner != op.owner:
                self.other = self.best
            self.best = op
        elif op.owner != self.best.owner and (self.other is None or op.token > self.other.token):
            self.other = op

    def not_of(self, owner):
        return self.best if self.best is None or self.best.owner != owner else self.other


class _Past:
    """What had been answered by a moment; the moment only moves on."""

    def __init__(self, book):
        grants = [op for hold in book.holds.values() for op in hold.grants]
        self.grants = sorted(grants, key=lambda op: op.inv)
        self._answered = sorted(grants, key=lambda op: op.ret)
        self._dead = sorted(((op.ret, hold.token, op) for hold in book.holds.values()
                             if hold.mode != "shared" for op in hold.acked_releases()),
                            key=lambda row: row[:2])
        self._answered_turn = self._dead_turn = 0
        self.everybody, self.exclusive = _Highest(), _Highest()
        self.dead = None

    def move_to(self, moment):
        while (self._answered_turn < len(self._answered)
               and self._answered[self._answered_turn].ret < moment):
            op = self._answered[self._answered_turn]
            self._answered_turn += 1
            self.everybody.add(op)
            if op.mode != "shared":
                self.exclusive.add(op)
        while self._dead_turn < len(self._dead) and self._dead[self._dead_turn][0] < moment:
            row = self._dead[self._dead_turn]
            self._dead_turn += 1
            if self.dead is None or row[1] > self.dead[1]:
                self.dead = row

    def objection(self, op):
        """(kind, higher token, its operation) for a grant that is not high enough, or None."""
        if self.dead is not None and op.token <= self.dead[1]:
            return "not_above_released", self.dead[1], self.dead[2]
        rival = (self.exclusive if op.mode == "shared" else self.everybody).not_of(op.owner)
        if rival is not None and op.token <= rival.token:
            return "not_above_other_owner", rival.token, rival
        top = self.everybody.best
        if top is not None and op.token < top.token:
            return "regress", top.token, top
        return None


def _check_growth(book):
    past, found = _Past(book), []
    for op in past.grants:
        past.move_to(op.inv)
        objection = past.objection(op)
        if objection is not None:
            kind, token, other = objection
            message = ("%s is granted token %d after token %d had been answered to %s"
                       % (op.owner, op.token, token, other.owner))
            found.append(Violation("tokens", kind, book.name, message, [other, op]))
    return found


def _witness(hold):
    return (hold.grants + hold.renewals + hold.sightings + hold.releases + hold.endings)[0]


def _check_one_owner(book):
    by_token, found = {}, []
    for hold in book.holds.values():
        if hold.grants or hold.renewals or hold.sightings or hold.acked_releases():
            by_token.setdefault(hold.token, []).append(hold)
    for token, holds in by_token.items():
        alone = [hold for hold in holds if hold.mode != "shared"]
        if len(holds) > 1 and alone:
            others = [hold for hold in holds if hold is not alone[0]]
            message = "token %d names %s" % (token, ", ".join(sorted(h.owner for h in holds)))
            found.append(Violation("tokens", "two_owners", book.name, message,
                                   [_witness(alone[0]), _witness(others[0])]))
    return found


def check_tokens(book, settings):
    del settings
    return _check_growth(book) + _check_one_owner(book)


def check_request_ids(ops):
    """Over the whole history: an id belongs to its owner, not to a name."""
    first, cancelled, found = {}, {}, []
    for op in ops:
        if op.op == "cancel" and op.outcome == "ok" and op.result in CANCELLED:
            cancelled.setdefault((op.owner, op.request_id), op)
    for op in sorted((op for op in ops if op.granted and op.request_id is not None),
                     key=lambda op: op.inv):
        key = (op.owner, op.request_id)
        known = first.setdefault(key, op)
        if known.token != op.token:
            message = ("request %s of %s is granted token %d and token %d"
                       % (op.request_id, op.owner, known.token, op.token))
            found.append(Violation("request_id", "two_effects", op.name, message, [known, op]))
        end = cancelled.get(key)
        if end is not None and end.ret < op.inv:
            message = "request %s of %s is granted after its cancellation" % (op.request_id,
                                                                             op.owner)
            found.append(Violation("request_id", "granted_after_cancel", op.name, message,
                                   [end, op]))
    return found
