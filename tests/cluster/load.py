"""Clients with all kinds of habits, and the history of what they were told.

Each client is a thread with one thing in hand at a time. It takes a lock at once or waits for it,
shared or alone, for a short or a long lease; renews, looks, asks for it again, gives it back, keeps
it until it has expired, or forgets it as a crashed process would. What breaks it repeats under the
same request id through another node, or gives up, cancels, and goes on under a new name. Now and
then it repeats a request that was over long ago.
"""

import collections
import random
import threading
import time

import grpc

import calls
import stubs
from calls import EXCLUSIVE, SHARED, Client, Refusal

RESULTS = {calls.GRANTED: "granted", calls.HELD: "held", calls.TIMED_OUT: "timed_out",
           calls.ENDED: "ended", calls.CANCELLED: "cancelled"}
CANCEL_RESULTS = {1: "cancelled", 2: "granted", 3: "ended"}
MODES = {EXCLUSIVE: "exclusive", SHARED: "shared"}
CHANNELS = 4


def now():
    return time.monotonic()


class Load:
    """recorder: of tests/checker. addresses: of all nodes. title: sets names and owners of this load
    apart from those of others in the same region."""

    def __init__(self, addresses, recorder, title, clients=32, names=200, seed=1):
        self.recorder, self.title = recorder, title
        self.names = ["%s/%03d" % (title, n) for n in range(names)]
        self.running = True
        self.grants = []  # (inv, ret) in seconds of CLOCK_MONOTONIC
        self.surprises = []
        self._nodes = [[Client(address) for address in addresses] for _ in range(CHANNELS)]
        self._threads = [LoadClient(self, number, self._nodes[number % CHANNELS],
                                    random.Random("%d/%d" % (seed, number)))
                         for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def first_grant_after(self, moment):
        """When the first Acquire that was sent after that moment was answered with a grant."""
        return min((ret for inv, ret in list(self.grants) if inv > moment), default=None)

    def stop(self, seconds=60):
        """Lets every client finish what it is doing."""
        self.running = False
        end = now() + seconds
        for thread in self._threads:
            thread.join(max(0.1, end - now()))
        stuck = [thread.number for thread in self._threads if thread.is_alive()]
        for group in self._nodes:
            for node in group:
                node.close()
        if stuck:
            raise AssertionError("clients did not come to an end: %s" % stuck)
        if self.surprises:
            raise AssertionError("\n".join(self.surprises[:10]))


class LoadClient(threading.Thread):
    def __init__(self, load, number, nodes, rng):
        super().__init__(daemon=True)
        self.load, self.number, self.nodes, self.rng = load, number, nodes, rng
        self.at = number % len(nodes)
        self.ids = self.lives = 0
        self.past = collections.deque(maxlen=20)
        self.be_born()

    # ---- life ----

    def be_born(self):
        """Under a new name, as a process after a crash."""
        self.lives += 1
        self.owner = "%s.%d.%d" % (self.load.title, self.number, self.lives)

    def run(self):
        try:
            while self.load.running:
                self.step()
                time.sleep(self.rng.uniform(0, 0.01))
        except Exception as error:  # pylint: disable=broad-except
            self.load.surprises.append("client %d: %r" % (self.number, error))

    def step(self):
        chance = self.rng.random()
        if chance < 0.04 and self.past:
            self.repeat_old()
        elif chance < 0.12:
            self.get(self.any_name())
        else:
            self.hold_once()

    def any_name(self):
        """Some wishes go to a few names, so that there are queues."""
        names = self.load.names
        return self.rng.choice(names[:10] if self.rng.random() < 0.25 else names)

    def next_id(self):
        self.ids += 1
        return "%d-%d" % (self.number, self.ids)

    def wish(self):
        return {"name": self.any_name(), "owner": self.owner, "request_id": self.next_id(),
                "mode": SHARED if self.rng.random() < 0.3 else EXCLUSIVE,
                "ttl_ms": self.rng.choice((500, 1500, 1500, 10000)),
                "wait_ms": self.rng.choice((0, 0, 300, 2000, -1))}

    def hold_once(self):
        wish = self.wish()
        hold = self.acquire(wish)
        self.past.append(wish)
        if hold is None:
            return
        for _ in range(self.rng.randrange(3)):
            self.use(wish, hold)
        chance = self.rng.random()
        if chance < 0.08:
            self.be_born()
        elif chance < 0.16 and wish["ttl_ms"] <= 1500:
            time.sleep(self.rng.uniform(0.3, 1.3) * wish["ttl_ms"] / 1000)
            self.release(wish, hold)
        else:
            self.release(wish, hold)

    def use(self, wish, hold):
        time.sleep(self.rng.uniform(0, 0.015))
        chance = self.rng.random()
        if chance < 0.5:
            self.renew(wish, hold)
        elif chance < 0.7:
            self.get(wish["name"])
        elif chance < 0.85:
            hold.update(self.attempt_acquire(wish)[1] or {})
        else:
            # May be another hold, if this one has expired meanwhile.
            wish["request_id"] = self.next_id()
            hold.update(self.attempt_acquire(wish)[1] or {})

    def repeat_old(self):
        wish = self.rng.choice(self.past)
        outcome, hold = self.attempt_acquire(wish)
        if outcome == "ok" and hold is not None:
            self.release(wish, hold)

    # ---- calls ----

    def node(self):
        return self.nodes[self.at % len(self.nodes)]

    def elsewhere(self):
        self.at += 1
        time.sleep(self.rng.uniform(0.005, 0.05))

    def call(self, row, send):
        """One attempt, recorded. send(locks) gives (answer, fields). Returns (outcome, answer)."""
        recorder = self.load.recorder
        mark = recorder.begin(proc=self.number, **row)
        try:
            answer, fields = send(self.node().locks)
        except grpc.RpcError as error:
            refusal = Refusal(error)
            outcome = "fail" if refusal.not_applied else "info"
            recorder.end(mark, outcome, error="%s/%s" % (refusal.code.name, refusal.reason))
            self.look_at(row, refusal)
            return outcome, None
        recorder.end(mark, "ok", op_seq=answer.header.op_seq, **fields)
        return "ok", answer

    def look_at(self, row, refusal):
        """Some answers must not happen, whatever dies."""
        allowed = {"acquire": ("MODE_MISMATCH",), "release": ("STALE_HOLD",),
                   "renew": ("STALE_HOLD",)}
        passing = ("OVERLOADED", "NO_LEADER", "NOT_LEADER", "NOT_READY", "OUTCOME_UNKNOWN",
                   "DEADLINE_EXCEEDED", "CANCELLED", "DRAINING", None)
        if refusal.reason in passing or refusal.reason in allowed.get(row["op"], ()):
            if refusal.reason is not None or refusal.code in calls.PASSING:
                return
        self.load.surprises.append("%s -> %r" % (row, refusal))

    def attempt_acquire(self, wish):
        """Returns (outcome, hold or None)."""
        wait_ms = wish["wait_ms"]
        timeout = 2 + (wait_ms / 1000 if wait_ms > 0 else 0)
        begin = now()

        def send(locks):
            answer = locks.Acquire(calls.request(**wish), timeout=timeout)
            fields = {"result": RESULTS[answer.result]}
            if answer.token:
                fields["token"] = answer.token
            if answer.result == calls.GRANTED:
                fields["hold_id"] = answer.hold_id
                fields["lease_remaining_ms"] = answer.lease_remaining_ms
            return answer, fields
        outcome, answer = self.call({**wish, "op": "acquire", "mode": MODES[wish["mode"]]}, send)
        if outcome == "ok" and answer.result == calls.GRANTED:
            self.load.grants.append((begin, now()))
            return outcome, {"hold_id": answer.hold_id, "token": answer.token}
        return outcome, None

    def acquire(self, wish):
        """Repeats until there is an answer; may lose patience. Returns the hold or None."""
        end = now() + self.rng.choice((0.5, 3, 10))
        while True:
            outcome, hold = self.attempt_acquire(wish)
            if outcome == "ok":
                return hold
            if now() > end:
                return self.give_up(wish, outcome)
            self.elsewhere()

    def give_up(self, wish, outcome):
        chance = self.rng.random()
        if chance < 0.5:
            return self.cancel(wish)
        if chance < 0.8 or outcome == "info":
            self.be_born()
        return None

    def cancel(self, wish):
        row = {"op": "cancel", "name": wish["name"], "owner": wish["owner"],
               "request_id": wish["request_id"]}

        def send(locks):
            answer = locks.Cancel(stubs.lock_pb2.CancelRequest(
                owner=wish["owner"], request_id=wish["request_id"]), timeout=2)
            fields = {"result": CANCEL_RESULTS[answer.result]}
            if answer.result == 2:
                fields.update(token=answer.token, hold_id=answer.hold_id,
                              lease_remaining_ms=answer.lease_remaining_ms)
            return answer, fields
        for _ in range(5):
            outcome, answer = self.call(row, send)
            if outcome == "ok":
                found = answer.result == 2
                return {"hold_id": answer.hold_id, "token": answer.token} if found else None
            self.elsewhere()
        self.be_born()
        return None

    def release(self, wish, hold):
        row = {"op": "release", "name": wish["name"], "owner": wish["owner"],
               "request_id": self.next_id(), "token": hold["token"], "hold_id": hold["hold_id"]}

        def send(locks):
            answer = locks.Release(stubs.lock_pb2.ReleaseRequest(
                name=wish["name"], owner=wish["owner"], hold_id=hold["hold_id"],
                request_id=row["request_id"]), timeout=2)
            if answer.token != hold["token"]:
                self.load.surprises.append("%s released token %d" % (row, answer.token))
            return answer, {"result": "released"}
        end = now() + self.rng.choice((0.1, 3, 15))
        while now() < end:
            outcome, _ = self.call(row, send)
            if outcome == "ok":
                return
            if outcome == "fail" and self.rng.random() < 0.3:
                return
            self.elsewhere()
        if self.rng.random() < 0.5:
            self.be_born()

    def renew(self, wish, hold):
        row = {"op": "renew", "name": wish["name"], "owner": wish["owner"],
               "token": hold["token"], "hold_id": hold["hold_id"]}

        def send(locks):
            answer = locks.Renew(stubs.lock_pb2.RenewRequest(
                name=wish["name"], owner=wish["owner"], hold_id=hold["hold_id"]), timeout=2)
            if answer.token != hold["token"]:
                self.load.surprises.append("%s renewed token %d" % (row, answer.token))
            return answer, {"result": "renewed", "lease_remaining_ms": answer.lease_remaining_ms}
        self.call(row, send)

    def get(self, name):
        self.call({"op": "get", "name": name}, lambda locks: look(locks, name))


def look(locks, name, timeout=2):
    """A Get and its fields for the history."""
    answer = locks.Get(stubs.lock_pb2.GetRequest(name=name), timeout=timeout)
    rows = [{"owner": one.owner, "token": one.token, "mode": MODES[one.mode]}
            for one in answer.lock.holders]
    return answer, {"result": "held" if rows else "free", "holders": rows}
