"""A correct lock server in virtual time, small enough to be read: the source of legal histories.

It keeps the rules that the checks rely on: a token per ownership and one per group of shared holds,
first come first served, no early expiry, full leases after a change of leader, one effect per
request id, a new claim number when a hold is given back to its owner, nothing applied after
"failed".
"""

import heapq

MS = 1_000_000


class Clock:
    """Virtual time: a heap of things to do."""

    def __init__(self):
        self.now, self._heap, self._count = 1_000 * MS, [], 0

    def after(self, delay_ns, action):
        self._count += 1
        heapq.heappush(self._heap, (self.now + max(1, int(delay_ns)), self._count, action))

    def run_until(self, end):
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = max(self.now, end)


class SimHold:
    def __init__(self, owner, mode, ttl_ms):
        self.owner, self.mode, self.ttl_ms = owner, mode, ttl_ms
        self.number = self.token = self.expiry = 0
        self.claim, self.touched = 1, False

    def hold_id(self):
        return "%d.%d" % (self.number, self.claim)


class Wait:
    def __init__(self, owner, mode, ttl_ms):
        self.owner, self.mode, self.ttl_ms = owner, mode, ttl_ms
        self.keys, self.listeners = [], []


class SimLock:
    def __init__(self):
        self.holders, self.queue = {}, []


class Server:
    """handle(request, reply): reply(outcome, fields) is called at the moment of the answer."""

    def __init__(self, clock, rng):
        self.clock, self.rng, self.up = clock, rng, True
        self.locks, self.records, self.op_seq = {}, {}, 0
        self.places = {}

    # ---- faults ----

    def kill(self):
        self.up = False

    def take_over(self):
        """A new leader: every lease starts again, nobody listens, abandoned waits leave."""
        self.up = True
        for lock in self.locks.values():
            for hold in lock.holders.values():
                self._arm(lock, hold)
            for wait in lock.queue:
                wait.listeners = []
        self.clock.after(1_500 * MS, self._drop_unattached)

    def _drop_unattached(self):
        for lock in self.locks.values():
            for wait in list(lock.queue):
                if wait in lock.queue and not wait.listeners:
                    self._leave(lock, wait, None)

    # ---- commands ----

    def handle(self, request, reply):
        lock = self.locks.setdefault(request["name"], SimLock())
        getattr(self, "_on_" + request["op"])(lock, request, reply)

    def _apply(self):
        self.op_seq += 1
        return self.op_seq

    def _on_get(self, lock, request, reply):
        rows = [{"owner": hold.owner, "token": hold.token, "mode": hold.mode}
                for hold in lock.holders.values()]
        reply("ok", {"result": "held" if rows else "free", "holders": rows,
                     "op_seq": self.op_seq})

    def _on_acquire(self, lock, request, reply):
        key = (request["owner"], request["request_id"])
        if key in self.records:
            self._repeat(lock, key, reply)
            return
        self._apply()
        mine = lock.holders.get(request["owner"])
        wait = next((one for one in lock.queue if one.owner == request["owner"]), None)
        present = mine or wait
        if present is not None and present.mode != request["mode"]:
            reply("fail", {"result": "other_mode"})
        elif mine is not None:
            mine.claim, mine.touched = mine.claim + 1, True
            self.records[key], self.places[key] = ("holding", mine), self.op_seq
            self._answer_granted(mine, reply, self.op_seq)
        elif wait is not None:
            wait.keys.append(key)
            wait.listeners.append(reply)
            self.records[key] = ("waiting", wait)
        else:
            self._ask(lock, request, key, reply)

    def _ask(self, lock, request, key, reply):
        wait = Wait(request["owner"], request["mode"], request["ttl_ms"])
        wait.keys, wait.listeners = [key], [reply]
        if not lock.queue and self._fits(lock, wait.mode):
            self._grant(lock, wait)
        elif not request["wait_ms"]:
            self._finish(wait, "held")
        else:
            self.records[key] = ("waiting", wait)
            lock.queue.append(wait)
            self.clock.after(request["wait_ms"] * MS, lambda: self._time_out(lock, wait))

    def _repeat(self, lock, key, reply):
        """The place of a repeat is that of its request, or of the state that was read for it."""
        state, what = self.records[key]
        if state == "waiting":
            what.listeners.append(reply)
        elif state == "holding" and lock.holders.get(what.owner) is what:
            what.touched = True
            self._answer_granted(what, reply, self.rng.choice((self.places[key], self.op_seq)))
        elif state == "holding":
            reply("ok", {"result": "ended", "token": what.token, "op_seq": self.op_seq})
        else:
            reply("ok", {"result": what, "op_seq": self.op_seq})

    def _on_release(self, lock, request, reply):
        key = (request["owner"], request["request_id"])
        if key in self.records:
            reply("ok", {"result": self.records[key][1], "op_seq": self.op_seq})
            return
        self._apply()
        hold = lock.holders.get(request["owner"])
        state = self._state_of(hold, request["hold_id"])
        if state == "current":
            self._end(lock, hold)
            self.records[key] = ("done", "released")
            reply("ok", {"result": "released", "op_seq": self.op_seq})
        else:
            self._answer_not_current(state, reply)

    def _on_renew(self, lock, request, reply):
        self._apply()
        hold = lock.holders.get(request["owner"])
        state = self._state_of(hold, request["hold_id"])
        if state == "current":
            self._arm(lock, hold)
            reply("ok", {"result": "renewed", "token": hold.token, "hold_id": hold.hold_id(),
                         "lease_remaining_ms": hold.ttl_ms, "op_seq": self.op_seq})
        else:
            self._answer_not_current(state, reply)

    def _on_cancel(self, lock, request, reply):
        key = (request["owner"], request["request_id"])
        self._apply()
        state, what = self.records.get(key, (None, None))
        if state == "holding" and lock.holders.get(what.owner) is what:
            what.touched = True
            self._answer_granted(what, reply, self.op_seq)
        elif state == "holding":
            reply("ok", {"result": "ended", "token": what.token, "op_seq": self.op_seq})
        elif state == "done":
            reply("ok", {"result": what, "op_seq": self.op_seq})
        else:
            if state == "waiting" and what in lock.queue:
                self._leave(lock, what, "cancelled")
            self.records[key] = ("done", "cancelled")
            reply("ok", {"result": "cancelled", "op_seq": self.op_seq})

    # ---- the table ----

    @staticmethod
    def _state_of(hold, hold_id):
        if hold is None or str(hold.number) != hold_id.split(".")[0]:
            return "ended"
        return "current" if hold.hold_id() == hold_id else "stale"

    def _answer_not_current(self, state, reply):
        if state == "stale":
            reply("fail", {"result": "stale_hold"})
        else:
            reply("ok", {"result": "ended", "op_seq": self.op_seq})

    def _answer_granted(self, hold, reply, op_seq):
        left_ms = max(0, hold.expiry - self.clock.now) // MS
        reply("ok", {"result": "granted", "token": hold.token, "hold_id": hold.hold_id(),
                     "lease_remaining_ms": left_ms, "op_seq": op_seq})

    @staticmethod
    def _fits(lock, mode):
        return not lock.holders or (mode == "shared" and all(
            hold.mode == "shared" for hold in lock.holders.values()))

    def _grant(self, lock, wait):
        hold = SimHold(wait.owner, wait.mode, wait.ttl_ms)
        group = next(iter(lock.holders.values()), None)
        hold.number = self.op_seq
        hold.token = group.token if group is not None else self.op_seq
        lock.holders[wait.owner] = hold
        self._arm(lock, hold)
        for key in wait.keys:
            self.records[key], self.places[key] = ("holding", hold), hold.number
        for listener in wait.listeners:
            self._answer_granted(hold, listener, hold.number)
        if not wait.listeners:
            self.clock.after(300 * MS, lambda: self._abandon(lock, hold, wait.keys))

    def _abandon(self, lock, hold, keys):
        if lock.holders.get(hold.owner) is hold and not hold.touched and self.up:
            self._apply()
            for key in keys:
                self.records.pop(key, None)
            self._end(lock, hold)

    def _arm(self, lock, hold):
        expiry = hold.expiry = self.clock.now + hold.ttl_ms * MS
        late = self.rng.randrange(1, 300) * MS
        self.clock.after(hold.ttl_ms * MS + late, lambda: self._expire(lock, hold, expiry))

    def _expire(self, lock, hold, expiry):
        if self.up and lock.holders.get(hold.owner) is hold and hold.expiry == expiry:
            self._apply()
            self._end(lock, hold)

    def _end(self, lock, hold):
        del lock.holders[hold.owner]
        self._promote(lock)

    def _promote(self, lock):
        while lock.queue and self._fits(lock, lock.queue[0].mode):
            self._apply()
            self._grant(lock, lock.queue.pop(0))

    def _finish(self, wait, result):
        for key in wait.keys:
            self.records[key] = ("done", result)
        for listener in wait.listeners:
            listener("ok", {"result": result, "op_seq": self.op_seq})

    def _leave(self, lock, wait, result):
        """Takes a waiter out; without a result its ids are unknown again."""
        lock.queue.remove(wait)
        self._apply()
        if result is None:
            for key in wait.keys:
                self.records.pop(key, None)
        else:
            self._finish(wait, result)
        self._promote(lock)

    def _time_out(self, lock, wait):
        if wait in lock.queue and self.up:
            self._leave(lock, wait, "timed_out")
