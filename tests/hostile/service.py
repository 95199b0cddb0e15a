"""What well-behaved clients get while something else goes on: paced calls through every node, each noted with
its time, its duration, how it ended, and how often it was repeated."""

import itertools
import threading
import time

import grpc

from calls import GRANTED, PASSING, Client, Refusal

CALL_SECONDS = 10
REPEAT_SECONDS = 30
REPEAT_PAUSE = 0.1


class Part:
    """The calls of a stretch of time."""

    def __init__(self, rows):
        self.n = len(rows)
        self.errors = [row[3] for row in rows if row[3]]
        self.repeats = sum(row[4] for row in rows)
        self.milliseconds = sorted(row[2] for row in rows if not row[3])

    def percentile(self, share):
        if not self.milliseconds:
            return float("nan")
        return self.milliseconds[min(len(self.milliseconds) - 1, int(share * len(self.milliseconds)))]

    def served(self):
        """The share of calls that succeeded, in percent."""
        return 100 * (self.n - len(self.errors)) / self.n if self.n else float("nan")

    def summary(self):
        return "%.0f, %.0f, %.1f%%" % (self.percentile(0.5), self.percentile(0.99), self.served())

    def __str__(self):
        return "%4d %6.0f %6.0f %4d" % (self.n, self.percentile(0.5), self.percentile(0.99), len(self.errors))


class Service:
    """Three takers of locks and three keepers of a hold, spread over the nodes, each with its own connection.

    repeats: a call that fails for the moment is made again, with the same request id where it has one; its
    duration is that of all attempts."""

    PAUSE = 0.1

    def __init__(self, nodes, credentials=None, repeats=False):
        self.repeats, self._ids = repeats, itertools.count(time.monotonic_ns())
        self.rows, self.lost, self._end, self._threads = [], [], threading.Event(), []
        for number, node in enumerate(nodes):
            for kind in (self._take, self._keep):
                client = Client(node.address, credentials, node.name if credentials else None)
                thread = threading.Thread(target=kind, args=(client, "%s/%d" % (kind.__name__, number)), daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self):
        self._end.set()
        for thread in self._threads:
            thread.join(2 * CALL_SECONDS)

    def part(self, begin, end):
        """Calls that began in that time."""
        return Part([row for row in list(self.rows) if begin <= row[0] < end])

    def _timed(self, kind, call):
        begin, answer, again = time.monotonic(), None, 0
        while True:
            try:
                answer, error = call(), None
            except grpc.RpcError as caught:
                error, passing = repr(Refusal(caught)), caught.code() in PASSING
            if error is None or not passing or not self.repeats or time.monotonic() > begin + REPEAT_SECONDS:
                break
            again += 1
            time.sleep(REPEAT_PAUSE)
        self.rows.append((begin, kind, 1000 * (time.monotonic() - begin), error, again))
        return answer

    def _id(self):
        return "service-%d" % next(self._ids)

    def _pause(self, begin):
        self._end.wait(max(0, self.PAUSE - (time.monotonic() - begin)))

    def _take(self, client, name):
        """Takes a lock that nobody else wants, gives it back, and reads."""
        while not self._end.is_set():
            begin, taking, giving = time.monotonic(), self._id(), self._id()
            held = self._timed("acquire", lambda: client.acquire(
                name, name, timeout=CALL_SECONDS, request_id=taking))
            if held is not None and held.result == GRANTED:
                self._timed("release", lambda: client.release(
                    name, name, held.hold_id, timeout=CALL_SECONDS, request_id=giving))
            self._timed("get", lambda: client.get(name, timeout=CALL_SECONDS))
            self._pause(begin)
        client.close()

    def _keep(self, client, name):
        """Holds a lock all the time. That it is another hold than before is noted in .lost."""
        token, hold_id = 0, None
        while not self._end.is_set():
            begin, taking = time.monotonic(), self._id()
            if hold_id is None:
                held = self._timed("acquire", lambda: client.acquire(
                    name, name, timeout=CALL_SECONDS, ttl_ms=60000, request_id=taking))
                if held is not None and held.result == GRANTED:
                    if token and held.token != token:
                        self.lost.append("%s: %d, then %d" % (name, token, held.token))
                    token, hold_id = held.token, held.hold_id
            else:
                answer = self._timed("renew", lambda: client.renew(name, name, hold_id, timeout=CALL_SECONDS))
                if answer is None:
                    hold_id = None
            self._pause(begin)
        client.close()
