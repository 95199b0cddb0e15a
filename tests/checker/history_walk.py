"""Check "walk": can the holds of one name be put on one time line at all?

The grants of a name, ordered by token, form a chain of epochs: one exclusive hold, or one group of
shared holds that have their token in common. Each epoch has two unknown moments, when it was
acquired and when it ended, and each piece of evidence bounds one of them:

    acquired   from the first acquire that can have made it, to the first answer that shows it
    ended      from the last moment at which it was surely held, to the answer of its release

    acquired 1 <= ended 1 <= acquired 2 <= ended 2 <= ...

Putting every moment as early as possible, from left to right, succeeds exactly when some assignment
exists, because all constraints are differences of that one direction. The same from right to left
gives the latest moments; between them lie the times at which the name was surely held and those at
which it was surely free, for the answers that say only "free" or "held by another".

Only tokens and times of clients are used here, never an index or op_seq of the server.
"""

from bisect import bisect_left, bisect_right

from history_holds import certain
from history_honesty import Askers
from history_model import DENIED, FOREVER, Violation

EVER = -1


class Bound:
    """One end of a box: the moment and the operation that proves it."""

    __slots__ = ("at", "op", "why")

    def __init__(self, at, op=None, why=""):
        self.at, self.op, self.why = at, op, why

    def raise_to(self, at, op, why):
        if at > self.at:
            self.at, self.op, self.why = at, op, why

    def lower_to(self, at, op, why):
        if at < self.at:
            self.at, self.op, self.why = at, op, why


class Epoch:
    """All holds with one token, with the boxes of their common beginning and end."""

    __slots__ = ("token", "holds", "owners", "a_lo", "a_hi", "e_lo", "e_hi",
                 "a_early", "e_early", "a_late", "e_late")

    def __init__(self, token, holds):
        self.token, self.holds = token, holds
        self.owners = {hold.owner for hold in holds}
        self.a_lo, self.a_hi = Bound(EVER), Bound(FOREVER)
        self.e_lo, self.e_hi = Bound(EVER), Bound(FOREVER)
        self.a_early = self.e_early = self.a_late = self.e_late = None

    def title(self):
        return "token %d of %s" % (self.token, ", ".join(sorted(self.owners)))


def _shows_held(hold):
    return hold.grants + hold.renewals + hold.sightings + hold.acked_releases()


def _bound_held(epoch, hold, settings):
    """Lower bound of the end, upper bound of the beginning."""
    for op in _shows_held(hold) + hold.endings:
        epoch.a_hi.lower_to(op.ret, op, "shown")
    for op in hold.grants + hold.renewals + hold.sightings:
        epoch.e_lo.raise_to(op.inv, op, "seen")
    if hold.acked_releases():
        first = min(hold.releases, key=lambda op: op.inv)
        epoch.e_lo.raise_to(first.inv, first, "seen")
    for lease in certain(hold, settings):
        epoch.e_lo.raise_to(lease.end, lease.op, "lease")


def _end_of(hold, book, shared):
    """Upper bound of the end of one hold."""
    over = hold.acked_releases() + hold.endings
    if not over:
        return Bound(FOREVER)
    if not shared:
        op = min(over, key=lambda op: op.ret)
        return Bound(op.ret, op, "over")
    last = max(over, key=lambda op: op.inv)
    again = (any(op.ret > last.inv for op in hold.grants)
             or hold.owner in book.unknown_owners)
    return Bound(FOREVER) if again else Bound(last.ret, last, "over")


def _bound_end(epoch, book):
    shared = all(hold.mode == "shared" for hold in epoch.holds)
    if shared and book.unknown_shared:
        return
    ends = [_end_of(hold, book, shared) for hold in epoch.holds]
    last = max(ends, key=lambda bound: bound.at)
    epoch.e_hi.lower_to(last.at, last.op, last.why)


def _bound_by_last_token(book, epochs):
    """A get that finds nobody and knows the last token: older ones are over, newer ones to come."""
    tokens = [epoch.token for epoch in epochs]
    for op in book.gets:
        if op.holders or op.last_token is None:
            continue
        turn = bisect_right(tokens, op.last_token)
        if turn > 0:
            epochs[turn - 1].e_hi.lower_to(op.ret, op, "free")
        if turn < len(epochs):
            epochs[turn].a_lo.raise_to(op.inv, op, "free")


def make_epochs(book, settings):
    groups = {}
    for hold in book.holds.values():
        if _shows_held(hold) or hold.endings:
            groups.setdefault(hold.token, []).append(hold)
    epochs = []
    for token in sorted(groups):
        epoch = Epoch(token, groups[token])
        earliest = min(hold.earliest for hold in epoch.holds)
        if earliest < FOREVER:
            epoch.a_lo.raise_to(earliest, None, "asked")
        for hold in epoch.holds:
            _bound_held(epoch, hold, settings)
        _bound_end(epoch, book)
        epochs.append(epoch)
    _bound_by_last_token(book, epochs)
    return epochs


def _clash(book, epoch, before, low, high, point):
    kind = {"lease": "early_end", "seen": "order", "free": "stale_free"}.get(low.why, "order")
    if point == "end" and low.why == "seen":
        kind = "alive_after_end"
    message = ("%s: its %s lies at %d or later (%s%s), but line %d proves %d or earlier"
               % (epoch.title(), point, low.at, low.why,
                  " of " + before.title() if before is not epoch else "",
                  high.op.line, high.at))
    return Violation("walk", kind, book.name, message, [low.op, high.op])


def _place_early(book, epochs):
    """Left to right; after a contradiction the walk goes on from the bound that was broken."""
    found, cursor, source = [], Bound(EVER), None
    for epoch in epochs:
        for point, low, high in (("beginning", epoch.a_lo, epoch.a_hi),
                                 ("end", epoch.e_lo, epoch.e_hi)):
            if low.at > cursor.at:
                cursor, source = Bound(low.at, low.op, low.why), epoch
            if cursor.at > high.at:
                found.append(_clash(book, epoch, source, cursor, high, point))
                cursor, source = Bound(high.at, high.op, "seen"), epoch
            if point == "beginning":
                epoch.a_early = cursor.at
            else:
                epoch.e_early = cursor.at
    return found


def _place_late(epochs):
    limit = FOREVER
    for epoch in reversed(epochs):
        limit = epoch.e_late = min(limit, epoch.e_hi.at)
        limit = epoch.a_late = min(limit, epoch.a_hi.at)


def _check_free(book, epochs):
    """A get that finds nobody, inside a time at which the name was surely held."""
    begins, found = [epoch.a_late for epoch in epochs], []
    for get in book.gets:
        turn = bisect_right(begins, get.inv) - 1
        if not get.holders and turn >= 0 and epochs[turn].e_early > get.ret:
            epoch = epochs[turn]
            message = ("answered free, but %s was held for the whole of the call (%s)"
                       % (epoch.title(), epoch.e_lo.why))
            found.append(Violation("walk", "free_while_held", book.name, message,
                                   [epoch.a_hi.op, epoch.e_lo.op, get]))
    return found


def _held_by_another(op, sent, epochs, ends):
    for turn in range(bisect_left(ends, sent), len(epochs)):
        if epochs[turn].a_early > op.ret:
            return False
        if epochs[turn].owners != {op.owner}:
            return True
    return False


def _check_denied(book, epochs, askers):
    """A refusal, although nobody else can have held the name at any moment of the call."""
    ends, found = [epoch.e_late for epoch in epochs], []
    for op in book.acquires:
        if op.outcome != "ok" or op.result not in DENIED:
            continue
        sent = book.first_sent(op)
        if (_held_by_another(op, sent, epochs, ends)
                or askers.of_others(op.owner, sent, op.ret)):
            continue
        message = "%s is answered %s, but nobody else can have held it" % (op.owner, op.result)
        found.append(Violation("walk", "held_by_nobody", book.name, message, [op]))
    return found


def _check_members(book, askers):
    """A shared hold is over when its release is answered, even while its group lives on."""
    found = []
    for hold in book.holds.values():
        released = max(hold.acked_releases(), key=lambda op: op.inv, default=None)
        if hold.mode != "shared" or released is None:
            continue
        if askers.of_owner(hold.owner, released.inv + 1, FOREVER):
            continue
        for op in hold.sightings + hold.renewals:
            if op.inv > released.ret:
                message = "token %d of %s lives on after its release" % (hold.token, hold.owner)
                found.append(Violation("walk", "alive_after_end", book.name, message,
                                       [released, op]))
                break
    return found


def check_walk(book, settings):
    epochs, askers = make_epochs(book, settings), Askers(book)
    found = _place_early(book, epochs) + _check_members(book, askers)
    if not found:
        _place_late(epochs)
        found = _check_free(book, epochs) + _check_denied(book, epochs, askers)
    return found
