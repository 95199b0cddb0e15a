"""Check "honesty": "failed" means that nothing happened, and nothing happens that nobody asked for.

Every holder that a get lists, and every hold that is renewed or released, needs an acquire of that
owner that can have made it: one that was granted this token, or one that was under way or unknown
at that time. If only failed acquires are left, one of them did have its effect
(failed_but_applied); if there is none at all, the hold came from nowhere (unasked_hold).
"""

from bisect import bisect_right

from history_model import FOREVER, Violation


class Askers:
    """The acquires of one name, to find one that lay open in a stretch of time.

    Failed ones do not count. Sorted by inv, with the furthest reach so far for each prefix, for the
    whole name (two different owners) and per owner.
    """

    def __init__(self, book):
        self._per_owner = {}
        self._all = ([], [])
        leader = follower = (-1, None)
        for op in sorted(book.acquires, key=lambda op: op.inv):
            if op.outcome == "fail":
                continue
            reach = book.reach(op)
            invs, reaches = self._per_owner.setdefault(op.owner, ([], []))
            invs.append(op.inv)
            reaches.append(max(reach, reaches[-1] if reaches else -1))
            leader, follower = self._rank(leader, follower, (reach, op.owner))
            self._all[0].append(op.inv)
            self._all[1].append((leader, follower))

    @staticmethod
    def _rank(leader, follower, row):
        if row[1] == leader[1]:
            return max(leader, row, key=lambda pair: pair[0]), follower
        if row[0] > leader[0]:
            return row, leader
        return leader, max(follower, row, key=lambda pair: pair[0])

    def of_owner(self, owner, start, end):
        """True when an acquire of owner may have had an effect somewhere in [start, end]."""
        invs, reaches = self._per_owner.get(owner, ((), ()))
        turn = bisect_right(invs, end)
        return turn > 0 and reaches[turn - 1] >= start

    def of_others(self, owner, start, end):
        """The same for any acquire that is not of owner."""
        turn = bisect_right(self._all[0], end)
        if turn == 0:
            return False
        leader, follower = self._all[1][turn - 1]
        return (leader if leader[1] != owner else follower)[0] >= start


def _failed(book):
    failed = {}
    for op in book.acquires:
        if op.outcome == "fail":
            failed.setdefault(op.owner, []).append(op)
    return failed


def _blame(book, failed, owner, token, op, request_id=None):
    suspects = [acquire for acquire in failed.get(owner, ())
                if acquire.inv <= op.ret and request_id in (None, acquire.request_id)]
    if suspects:
        message = "%s holds token %s, but its acquire had failed" % (owner, token)
        return Violation("honesty", "failed_but_applied", book.name, message, [suspects[-1], op])
    message = "%s holds token %s, and no acquire explains it" % (owner, token)
    return Violation("honesty", "unasked_hold", book.name, message, [op])


def _unexplained(hold, askers):
    """The first piece of evidence of a hold that no acquire can have made, or None."""
    granted = min((op.inv for op in hold.grants), default=FOREVER)
    uses = hold.sightings + hold.renewals + hold.acked_releases()
    for op in sorted(uses, key=lambda op: op.inv):
        if granted > op.ret and not askers.of_owner(hold.owner, op.inv, op.ret):
            return op
    return None


def _request_rows(book):
    """(get, row) for the rows that name their request."""
    return [(get, row) for get in book.gets for row in get.holders
            if row.request_id is not None and row.owner is not None]


def _check_requests(book, failed):
    sent = {}
    for op in book.acquires:
        if op.outcome != "fail" and op.request_id is not None:
            key = (op.owner, op.request_id)
            sent[key] = min(sent.get(key, FOREVER), op.inv)
    found, seen = [], set()
    for get, row in _request_rows(book):
        key = (row.owner, row.request_id)
        if key not in seen and sent.get(key, FOREVER) > get.ret:
            seen.add(key)
            found.append(_blame(book, failed, row.owner, row.token, get, row.request_id))
    return found


def check_honesty(book, settings):
    del settings
    askers, failed, found = Askers(book), _failed(book), []
    for hold in book.holds.values():
        op = _unexplained(hold, askers)
        if op is not None:
            found.append(_blame(book, failed, hold.owner, hold.token, op))
    return found + _check_requests(book, failed)
