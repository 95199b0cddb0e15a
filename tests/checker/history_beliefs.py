"""Checks "mutual_exclusion" and "lost_grant": what clients believe, and whether the server agrees.

mutual_exclusion  The stretches of time for which two owners believe that they hold one name never
                  overlap when one of them is exclusive. A belief starts when the answer is there
                  and ends at the client's own deadline (send time of that attempt + remaining
                  lease - drift) or when the client sends a release.
lost_grant        A get, most of all the one after the last fault, lists every hold that was
                  acknowledged and can neither have ended nor been released; no answer says "ended"
                  about such a hold.
"""

import heapq

from history_holds import beliefs, certain, merged
from history_model import Violation


class _TopTwo:
    """The furthest end so far, and the furthest one of any other owner."""

    __slots__ = ("best", "other")

    def __init__(self):
        self.best = self.other = None

    def add(self, lease):
        if self.best is None or lease.end > self.best.end:
            if self.best is not None and self.best.hold.owner != lease.hold.owner:
                self.other = self.best
            self.best = lease
        elif lease.hold.owner != self.best.hold.owner:
            if self.other is None or lease.end > self.other.end:
                self.other = lease

    def not_of(self, owner):
        return self.best if self.best is None or self.best.hold.owner != owner else self.other


def _overlap(book, lease, rival):
    message = ("%s believes from %d to %d (token %d, %s) while %s believes until %d (token %d, %s)"
               % (lease.hold.owner, lease.start, lease.end, lease.hold.token, lease.hold.mode,
                  rival.hold.owner, rival.end, rival.hold.token, rival.hold.mode))
    return Violation("mutual_exclusion", "overlapping_beliefs", book.name, message,
                     [lease.op, rival.op])


def check_mutual_exclusion(book, settings):
    leases = [lease for hold in book.holds.values() for lease in beliefs(hold, settings)]
    leases.sort(key=lambda lease: (lease.start, lease.op.line))
    exclusive, everybody = _TopTwo(), _TopTwo()
    found = []
    for lease in leases:
        alone = lease.hold.mode != "shared"
        rival = (everybody if alone else exclusive).not_of(lease.hold.owner)
        if rival is not None and rival.end > lease.start:
            found.append(_overlap(book, lease, rival))
        everybody.add(lease)
        if alone:
            exclusive.add(lease)
    return found


def _lost(book, get, lease):
    where = "final get" if get.final else "get"
    seen = ", ".join("%s:%s" % (row.owner, row.token) for row in get.holders) or "nobody"
    message = ("%s answers %s, but %s was promised token %d until %d"
               % (where, seen, lease.hold.owner, lease.hold.token, lease.end))
    return Violation("lost_grant", "missing_at_" + where.replace(" ", "_"), book.name, message,
                     [lease.op, get])


def _missing_holders(book, leases):
    leases.sort(key=lambda lease: lease.start)
    found, live, turn = [], [], 0
    for get in sorted(book.gets, key=lambda op: op.inv):
        while turn < len(leases) and leases[turn].start <= get.inv:
            heapq.heappush(live, (leases[turn].end, turn))
            turn += 1
        while live and live[0][0] <= get.inv:
            heapq.heappop(live)
        listed = {(row.owner, row.token) for row in get.holders}
        blamed = set()
        for end, number in live:
            key = (leases[number].hold.owner, leases[number].hold.token)
            if end > get.ret and key not in listed and key not in blamed:
                blamed.add(key)
                found.append(_lost(book, get, leases[number]))
    return found


def _of_another_part(hold, op, lease):
    """True when "ended" may be about an earlier part in a group of readers.

    Who leaves the group and comes again before it is empty gets the group's token a second time: an
    answer about the request or the hold_id of the first part says nothing about the second.
    """
    if hold.mode == "exclusive":
        return False
    if op.op == "acquire":
        own = {grant.hold_id for grant in hold.grants if grant.request_id == op.request_id}
        return lease.op.request_id != op.request_id and lease.op.hold_id not in own - {None}
    return None not in (op.hold_id, lease.op.hold_id) and op.hold_id != lease.op.hold_id


def _wrongly_ended(book, hold, leases):
    """Answers "ended" about a hold that was certain for the whole of that call."""
    found = []
    for op in hold.endings:
        for lease in leases:
            whole = lease.start <= op.inv and op.ret < lease.end
            if whole and not _of_another_part(hold, op, lease):
                message = ("%s is told that token %d has ended, but it was promised until %d"
                           % (hold.owner, hold.token, lease.end))
                found.append(Violation("lost_grant", "ended_too_early", book.name, message,
                                       [lease.op, op]))
                break
    return found


def check_lost_grants(book, settings):
    found, all_leases = [], []
    for hold in book.holds.values():
        leases = [lease for lease in certain(hold, settings) if lease.end > lease.start]
        all_leases += merged(leases)
        found += _wrongly_ended(book, hold, leases)
    return _missing_holders(book, all_leases) + found
