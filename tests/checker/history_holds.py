"""What the answers of one lock name prove about its holds.

A *hold* is all that the history says about one (owner, token) of a name. Evidence about it:

    grants      answers that say "you have it"     -> held at a moment of [inv, ret], then leased
    renewals    answers that extend it             -> the same
    sightings   gets that list it                  -> held at a moment of [inv, ret]
    releases    calls that may end it, not failed  -> may end at any moment after inv
    given_up    releases that did not end it       -> its client no longer relies on it
    endings     answers that say "it is over"      -> ended before ret

Invariants
  H1  Every bound errs on the side of the server: a hold is called certain only where no schedule of
      the unknown operations could have ended it.
  H2  A release that names an older claim of the hold than the one in question cannot end it; a
      release without hold_id, or of a claim whose age is not certain, can.
  H3  Where the mode of a hold is not known, and its owner has asked for both, it counts as shared.
  H4  An acquire that was repeated under its request id is settled by the first clear answer: from
      then on none of its copies takes effect any more.
"""

from bisect import bisect_left, bisect_right
from itertools import islice

from history_model import FOREVER, NS_PER_MS


class Lease:
    """A stretch of time for which an answer promised the hold.

    start, end  nanoseconds; empty when end <= start
    op          the answer
    """

    __slots__ = ("start", "end", "op", "hold")

    def __init__(self, start, end, op, hold):
        self.start, self.end, self.op, self.hold = start, end, op, hold


class Hold:
    """One (owner, token) of one name."""

    __slots__ = ("owner", "token", "mode", "grants", "renewals", "sightings", "releases",
                 "given_up", "endings", "earliest", "ttl_ms", "_claims",
                 "_releases", "_invs", "_open", "_furthest")

    def __init__(self, owner, token):
        self.owner, self.token, self.mode = owner, token, None
        self.grants, self.renewals, self.sightings = [], [], []
        self.releases, self.given_up, self.endings = [], [], []
        self.earliest, self.ttl_ms = FOREVER, 0
        self._claims = {}
        self._releases, self._invs, self._open, self._furthest = [], [], [], []

    def note_claims(self):
        """Remembers when each claim (hold_id) was asked for first and known first."""
        for op in self.grants:
            if op.hold_id is not None:
                inv, ret = self._claims.get(op.hold_id, (FOREVER, FOREVER))
                self._claims[op.hold_id] = (min(inv, op.inv), min(ret, op.ret))

    def superseded(self, release, op):
        """True when op speaks of a newer claim than the one that release names (H2)."""
        if release.hold_id is None or op.hold_id is None or release.hold_id == op.hold_id:
            return False
        old, new = self._claims.get(release.hold_id), self._claims.get(op.hold_id)
        return old is not None and new is not None and old[1] <= new[0]

    def perhaps_stale(self, op, asks):
        """True when op may have been refused only because its claim is no longer the newest.

        asks   when the owner sent an acquire for the name, ascending
        """
        if op.hold_id not in self._claims:
            return False
        last = max(grant.inv for grant in self.grants if grant.hold_id == op.hold_id)
        return bisect_right(asks, last) < bisect_right(asks, op.ret)

    def sort_releases(self, strays):
        """Prepares cut(): answered releases by inv with the furthest ret so far, and open ones."""
        self._releases = sorted(self.releases + strays, key=lambda op: op.inv)
        self._invs = [op.inv for op in self._releases]
        self._open = [op for op in self._releases if op.ret == FOREVER]
        furthest = -1
        for op in self._releases:
            furthest = max(furthest, op.ret if op.ret < FOREVER else -1)
            self._furthest.append(furthest)

    def cut(self, op):
        """The first moment at which a release could end what op promised, or FOREVER."""
        turn = bisect_left(self._invs, op.inv)
        for release in self._open:
            if release.inv >= op.inv:
                break
            if not self.superseded(release, op):
                return op.inv
        before = turn - 1
        while before >= 0 and self._furthest[before] > op.inv:
            release = self._releases[before]
            if op.inv < release.ret < FOREVER and not self.superseded(release, op):
                return op.inv
            before -= 1
        for release in islice(self._releases, turn, None):
            if not self.superseded(release, op):
                return release.inv
        return FOREVER

    def promises(self):
        return self.grants + self.renewals

    def acked_releases(self):
        return [op for op in self.releases if op.released]


def _lease_ms(op):
    return op.lease_ms if op.lease_ms is not None else (op.ttl_ms or 0)


def beliefs(hold, settings):
    """What the client may believe: from each answer to its own deadline or its own release."""
    for op in hold.promises():
        end = min(op.inv + _lease_ms(op) * NS_PER_MS - settings.drift_ns, hold.cut(op))
        for release in hold.given_up:
            if op.inv <= release.inv:
                end = min(end, release.inv)
        if end > op.ret:
            yield Lease(op.ret, end, op, hold)


def _floor_ns(hold, op, first, settings):
    """How long the server has promised the hold: by its answer, and by the TTL that was asked for.

    The TTL counts from the grant, which is not before the first acquire that can have made the
    hold. When several can have made it, the smallest of their TTLs counts.
    """
    floor = op.inv + settings.surely_ns(_lease_ms(op))
    if op is not first or not 0 < hold.ttl_ms <= settings.ttl_max_ms:
        return floor
    return max(floor, hold.earliest + settings.surely_ns(hold.ttl_ms))


def merged(leases):
    """Leases of one hold, those that touch joined to one; the last answer stands for it."""
    joined = []
    for lease in sorted(leases, key=lambda one: one.start):
        if joined and lease.start <= joined[-1].end:
            if lease.end > joined[-1].end:
                joined[-1] = Lease(joined[-1].start, lease.end, lease.op, lease.hold)
        else:
            joined.append(lease)
    return joined


def certain(hold, settings):
    """Where the server must hold it. May be empty stretches: [ret, end] with end < ret."""
    first = min(hold.grants, key=lambda op: op.inv, default=None)
    for op in hold.promises():
        end = min(_floor_ns(hold, op, first, settings), hold.cut(op))
        yield Lease(op.ret, end, op, hold)


class Book:
    """Everything about one name, sorted into holds. Made once, read by all checks."""

    def __init__(self, name, ops):
        self.name = name
        self.acquires = [op for op in ops if op.op == "acquire"]
        self.gets = [op for op in ops
                     if op.op == "get" and op.outcome == "ok" and op.holders is not None]
        self.cancels = [op for op in ops if op.op == "cancel" and op.outcome == "ok"]
        self.holds = {}
        self._tokens = {}
        self._settled = {}
        self._sent = {}
        self._asks = {}
        self._strays = {}
        self.unknown_owners = {op.owner for op in self.acquires if op.outcome == "info"}
        self.unknown_shared = any(op.mode == "shared" for op in self.acquires
                                  if op.outcome == "info")
        self._settle()
        self._collect_grants()
        for op in ops:
            if op.op in ("release", "renew"):
                self._collect_use(op)
        self._collect_sightings()
        self._finish()

    def _hold(self, owner, token):
        return self.holds.setdefault((owner, token), Hold(owner, token))

    def _settle(self):
        for op in sorted(self.acquires, key=lambda op: op.inv):
            if op.outcome != "fail":
                self._asks.setdefault(op.owner, []).append(op.inv)
            if op.outcome != "fail" and op.request_id is not None:
                key = (op.owner, op.request_id)
                self._sent[key] = min(self._sent.get(key, FOREVER), op.inv)
        for op in self.acquires + self.cancels:
            if op.outcome == "ok" and op.request_id is not None:
                key = (op.owner, op.request_id)
                self._settled[key] = min(self._settled.get(key, FOREVER), op.ret)

    def reach(self, op):
        """Up to when an acquire can have had its effect (H4)."""
        if op.outcome != "info" or op.request_id is None:
            return op.ret
        return max(op.inv, self._settled.get((op.owner, op.request_id), FOREVER))

    def first_sent(self, op):
        """When the request of op was sent first; its answer may be as old as that."""
        return min(op.inv, self._sent.get((op.owner, op.request_id), FOREVER))

    def _collect_grants(self):
        modes = {(op.owner, op.request_id): op.mode for op in self.acquires if op.request_id}
        for op in self.cancels:
            op.mode = modes.get((op.owner, op.request_id), op.mode)
        for op in self.acquires + self.cancels:
            if op.granted:
                self._hold(op.owner, op.token).grants.append(op)
                if op.hold_id is not None:
                    self._tokens[(op.owner, op.hold_id)] = op.token
            elif op.outcome == "ok" and op.result == "ended" and op.token is not None:
                hold = self._hold(op.owner, op.token)
                hold.endings.append(op)
                hold.mode = hold.mode or op.mode

    def _token_of(self, op):
        if op.token is not None:
            return op.token
        return self._tokens.get((op.owner, op.hold_id))

    def _collect_use(self, op):
        token = self._token_of(op)
        if token is None:
            self._collect_stray(op)
            return
        hold = self._hold(op.owner, token)
        ended = op.result == "ended" and op.outcome != "info"
        if ended:
            hold.endings.append(op)
        if op.op == "release":
            (hold.given_up if ended or op.outcome == "fail" else hold.releases).append(op)
        elif op.outcome == "ok" and op.result == "renewed":
            hold.renewals.append(op)

    def _collect_stray(self, op):
        """A release of a hold_id that no answer has shown may be of any hold of its owner."""
        if op.op == "release" and op.outcome != "fail":
            self._strays.setdefault(op.owner, []).append(op)

    def _collect_sightings(self):
        for op in self.gets:
            for row in op.holders:
                if row.owner is not None and row.token is not None:
                    hold = self._hold(row.owner, row.token)
                    hold.sightings.append(op)
                    hold.mode = hold.mode or row.mode

    def _earliest(self, hold, asked, unknown):
        """When the first acquire was sent that can have made the hold, or FOREVER."""
        if not hold.grants:
            return asked.get(hold.owner, FOREVER)
        return min(min(op.inv for op in hold.grants), unknown.get(hold.owner, FOREVER))

    def _finish(self):
        asked, unknown, modes, unknown_ttls = {}, {}, {}, {}
        for op in self.acquires:
            modes.setdefault(op.owner, set()).add(op.mode)
            if op.outcome != "fail":
                asked[op.owner] = min(asked.get(op.owner, FOREVER), op.inv)
            if op.outcome == "info":
                unknown[op.owner] = min(unknown.get(op.owner, FOREVER), op.inv)
                ttl_ms = min([op.ttl_ms or 0] + unknown_ttls.get(op.owner, []))
                unknown_ttls[op.owner] = [ttl_ms]
        for hold in self.holds.values():
            if hold.grants:
                hold.mode = hold.grants[0].mode
            hold.mode = hold.mode or ("shared" if "shared" in modes.get(hold.owner, ())
                                      else "exclusive")
            hold.earliest = self._earliest(hold, asked, unknown)
            ttls = [op.ttl_ms or 0 for op in hold.grants if op.op == "acquire"]
            hold.ttl_ms = min(ttls + unknown_ttls.get(hold.owner, []), default=0)
            hold.note_claims()
            hold.sort_releases(self._strays.get(hold.owner, []))
            hold.endings = [op for op in hold.endings
                            if not hold.perhaps_stale(op, self._asks.get(hold.owner, []))]
