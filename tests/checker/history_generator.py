"""Legal histories by seed: clients with bad luck against the simulated server.

    generate(seed, clients=6, names=3, seconds=8) -> list of objects as they stand in a history file

Requests and answers get lost or arrive late, the leader dies and a new one takes over, clients give
up, repeat under the same id, cancel, or forget. Whatever comes out, the server was a correct one.
"""

import random

from simulated_server import MS, Clock, Server


class Call:
    """One attempt of one client, recorded when it is answered or given up."""

    def __init__(self, world, client, request, then):
        self.world, self.request, self.then, self.open = world, request, then, True
        self.row = dict(request, proc=client.number, inv=world.clock.now)
        rng, clock = world.rng, world.clock
        self.answer_lost = rng.random() < world.loss
        delay = rng.randrange(50, 8_000) * 1_000
        if rng.random() < world.loss / 2:
            delay = rng.randrange(300, 4_000) * MS
        if rng.random() >= world.loss / 2:
            clock.after(delay, self._arrive)
        wait_ms = request.get("wait_ms") or 0
        clock.after((wait_ms + rng.randrange(250, 600)) * MS, self._give_up)

    def _arrive(self):
        if self.world.server.up:
            self.world.server.handle(self.request, self._reply)
        elif self.open and self.world.rng.random() < 0.5:
            self._reply("fail", {"result": "unavailable"})

    def _reply(self, outcome, fields):
        if not self.answer_lost:
            delay = self.world.rng.randrange(50, 8_000) * 1_000
            self.world.clock.after(delay, lambda: self._finish(outcome, fields))

    def _finish(self, outcome, fields):
        if self.open:
            self.open = False
            self.row.update(fields, outcome=outcome, ret=self.world.clock.now)
            self.world.rows.append(self.row)
            self.then(self.row)

    def _give_up(self):
        if self.open:
            self.open = False
            ret = self.world.clock.now if self.world.rng.random() < 0.5 else None
            self.row.update(outcome="info", result=None, ret=ret)
            self.world.rows.append(self.row)
            self.then(self.row)


class Client:
    """One sequential client; what it holds is what it was last told."""

    def __init__(self, world, number):
        self.world, self.number, self.owner = world, number, "c%d" % number
        self.hold, self.tries, self.ids = None, 0, 0

    def pause(self):
        self.world.clock.after(self.world.rng.randrange(1, 250) * MS, self.step)

    def step(self):
        if self.world.stopping:
            return
        choice = self.world.rng.random()
        if self.hold is None:
            self._get(self._name()) if choice < 0.2 else self._acquire(self._name())
        elif choice < 0.35:
            self._use("renew")
        elif choice < 0.75:
            self._use("release")
        elif choice < 0.9:
            self._acquire(self.hold["name"], self.hold["mode"])
        elif choice < 0.95:
            self.hold = None
            self.pause()
        else:
            self._get(self.hold["name"])

    def _name(self):
        return "l/%d" % self.world.rng.randrange(self.world.names)

    def _next_id(self):
        self.ids += 1
        return str(self.ids)

    def _call(self, request, then):
        Call(self.world, self, request, then)

    def _get(self, name):
        self._call({"op": "get", "name": name, "owner": self.owner}, lambda row: self.pause())

    def _acquire(self, name, mode=None):
        rng = self.world.rng
        mode = mode or ("shared" if rng.random() < self.world.shared else "exclusive")
        self.tries = 0
        self._call({"op": "acquire", "name": name, "owner": self.owner, "mode": mode,
                    "request_id": self._next_id(), "ttl_ms": rng.choice((1000, 2000, 5000)),
                    "wait_ms": rng.choice((0, 0, 500, 2000))}, self._on_acquired)

    def _use(self, op):
        self.tries = 0
        request = {"op": op, "name": self.hold["name"], "owner": self.owner,
                   "hold_id": self.hold["hold_id"], "request_id": self._next_id()}
        if self.world.rng.random() < 0.8:
            request["token"] = self.hold["token"]
        self._call(request, self._on_released if op == "release" else self._on_renewed)

    def _again(self, row, then):
        """Repeats an unknown or refused call under its id; True when it did."""
        self.tries += 1
        if row["outcome"] == "ok" or self.tries > 3 or self.world.rng.random() < 0.35:
            return False
        self._repeat(row, then)
        return True

    def _repeat(self, row, then):
        keys = ["op", "name", "owner", "mode", "request_id", "ttl_ms", "wait_ms"]
        if row["op"] != "acquire":
            keys += ["hold_id", "token"]
        self._call({key: row[key] for key in keys if key in row}, then)

    def _on_acquired(self, row):
        if row["outcome"] == "ok" and row["result"] == "granted":
            self.hold = row
        elif self._again(row, self._on_acquired):
            return
        elif row["outcome"] == "info":
            self.hold = None
            if self.world.rng.random() < 0.4:
                self._call({key: row[key] for key in ("name", "owner", "request_id")}
                           | {"op": "cancel"}, self._on_cancelled)
                return
        self.pause()

    def _on_cancelled(self, row):
        if row["outcome"] == "ok" and row["result"] == "granted":
            self.hold = dict(row, mode=self._mode_of(row))
        self.pause()

    def _mode_of(self, row):
        return next(one["mode"] for one in reversed(self.world.rows) if one["op"] == "acquire"
                    and one["owner"] == self.owner and one["request_id"] == row["request_id"])

    def _on_renewed(self, row):
        if row["outcome"] == "ok" and row["result"] != "renewed":
            self.hold = None
        self.pause()

    def _on_released(self, row):
        if self._again(row, self._on_released):
            return
        hold, self.hold = self.hold, None
        if row["outcome"] == "info" and self.world.rng.random() < 0.6:
            self._acquire(hold["name"], hold["mode"])
        elif hold["op"] == "acquire" and self.world.rng.random() < 0.15:
            self._repeat(hold, self._on_acquired)
        else:
            self.pause()


class World:
    def __init__(self, seed, clients, names, seconds, shared, loss, kills, server):
        self.rng = random.Random(seed)
        self.clock, self.rows, self.events, self.stopping = Clock(), [], [], False
        self.names, self.shared, self.loss = names, shared, loss
        self.server = server(self.clock, self.rng)
        for number in range(clients):
            Client(self, number).pause()
        for _ in range(kills):
            self.clock.after(self.rng.randrange(500, max(501, seconds * 800)) * MS, self._kill)

    def _kill(self):
        if self.server.up:
            self.server.kill()
            self.events.append({"event": "kill", "node": "n1", "at": self.clock.now})
            self.clock.after(self.rng.randrange(200, 900) * MS, self._restart)

    def _restart(self):
        self.server.take_over()
        self.events.append({"event": "restart", "node": "n1", "at": self.clock.now})

    def final_gets(self):
        for number in range(self.names):
            row = {"event": "final_get", "op": "get", "proc": -1, "name": "l/%d" % number,
                   "inv": self.clock.now}
            self.clock.run_until(self.clock.now + 2 * MS)
            self.server.handle(row, lambda outcome, fields, row=row: row.update(
                fields, outcome=outcome))
            self.clock.run_until(self.clock.now + 2 * MS)
            row["ret"] = self.clock.now
            self.rows.append(row)


def generate(seed, clients=6, names=3, seconds=8, shared=0.35, loss=0.06, kills=2,
             server=Server):
    world = World(seed, clients, names, seconds, shared, loss, kills, server)
    world.clock.run_until(world.clock.now + seconds * 1_000 * MS)
    world.stopping = True
    world.clock.run_until(world.clock.now + 1_000 * MS)
    if not world.server.up:
        world.server.take_over()
    world.final_gets()
    world.clock.run_until(world.clock.now + 3_200 * MS)
    return world.events + world.rows
