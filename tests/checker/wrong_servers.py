"""Servers that break one rule each. Their histories must not be called clean."""

from simulated_server import MS, Server


class ExpiresEarly(Server):
    """Counts leases with a clock that runs twice as fast."""

    def _arm(self, lock, hold):
        super()._arm(lock, hold)
        expiry = hold.expiry
        self.clock.after(hold.ttl_ms * MS // 2, lambda: self._expire(lock, hold, expiry))


class AcknowledgesWithoutRenewing(Server):
    """Answers renewals from a table, without the log."""

    def _on_renew(self, lock, request, reply):
        hold = lock.holders.get(request["owner"])
        old = hold.expiry if hold is not None else 0
        super()._on_renew(lock, request, reply)
        if hold is not None and hold.expiry != old:
            hold.expiry = old
            self.clock.after(old - self.clock.now, lambda: self._expire(lock, hold, old))


class LosesHolds(Server):
    """Forgets what was acknowledged when the leader changes."""

    def take_over(self):
        for lock in self.locks.values():
            lock.holders.clear()
        super().take_over()


class LosesRequestIds(Server):
    """Leaves the records of requests out of its snapshot."""

    def take_over(self):
        self.records.clear()
        super().take_over()


class TokensGoBack(Server):
    """Counts from an old backup after a restart."""

    def take_over(self):
        self.op_seq //= 2
        super().take_over()


class GrantsTwice(Server):
    """Grants without looking, once in a while."""

    def _fits(self, lock, mode):
        return super()._fits(lock, mode) or self.rng.random() < 0.05


class ReadsStale(Server):
    """Answers gets from what it knew a while ago."""

    def _on_get(self, lock, request, reply):
        old = getattr(lock, "old", None)
        answer = []
        super()._on_get(lock, request, lambda outcome, fields: answer.append(fields))
        reply("ok", old if old is not None and self.rng.random() < 0.5 else answer[0])
        self.clock.after(200 * MS, lambda: setattr(lock, "old", answer[0]))


class RefusesForNothing(Server):
    """Answers "held" although the name is free."""

    def _ask(self, lock, request, key, reply):
        if not request["wait_ms"] and self.rng.random() < 0.1:
            self.records[key] = ("done", "held")
            reply("ok", {"result": "held", "op_seq": self.op_seq})
        else:
            super()._ask(lock, request, key, reply)


class ReleaseIgnoresClaims(Server):
    """A late release ends the hold that was given back since."""

    def _on_release(self, lock, request, reply):
        hold = lock.holders.get(request["owner"])
        if self._state_of(hold, request["hold_id"]) == "stale":
            request = dict(request, hold_id=hold.hold_id())
        super()._on_release(lock, request, reply)


ROUGH = {"loss": 0.15, "kills": 4}
ROUGHER = {"loss": 0.3, "kills": 4, "seconds": 20}

# Each with the kind of history in which its fault shows.
WRONG = ((ExpiresEarly, ROUGH), (AcknowledgesWithoutRenewing, ROUGH), (LosesHolds, ROUGH),
         (LosesRequestIds, ROUGH), (TokensGoBack, ROUGH), (GrantsTwice, ROUGH),
         (ReadsStale, ROUGH), (RefusesForNothing, ROUGH), (ReleaseIgnoresClaims, ROUGHER))
