"""A stranger at the sockets between the actors of a node: random bytes, torn greetings, and a proper
greeting with messages that are none. The node goes on, and no actor ends.

Whoever can open these sockets is the same user as the actors, so this is about broken programs, not about
attackers: no message here claims to be a newer start of an actor, which would be believed."""

import glob
import os
import random
import socket
import struct
import time

from cluster_case import ClusterCase, main
from region import wait_for

SECONDS = float(os.environ.get("LM_HOSTILE_SECONDS", "15"))
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
MORE, LONG, COMMAND = 1, 2, 4


def greeting(mechanism=b"NULL", version=(3, 0)):
    return SIGNATURE + bytes(version) + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body, flags=0):
    if len(body) > 255:
        return struct.pack(">BQ", flags | LONG, len(body)) + body
    return bytes((flags, len(body))) + body


def ready(identity, kind=b"DEALER"):
    def property_of(name, value):
        return bytes((len(name),)) + name + struct.pack(">I", len(value)) + value
    return frame(b"\x05READY" + property_of(b"Socket-Type", kind) + property_of(b"Identity", identity), COMMAND)


def bundle(chance, messages):
    """As the bus packs messages, from a start of an actor that is long over."""
    head = struct.pack("<BBQII", 1, chance.randrange(9), chance.randrange(1 << 20), chance.randrange(1 << 32),
                       len(messages))
    return head + b"".join(struct.pack("<II", len(e), len(b)) + e + b for e, b in messages)


def envelope(chance):
    """Numbers where numbers belong, and sometimes not."""
    fields = b""
    for number in range(1, 11):
        if chance.random() < 0.7:
            fields += bytes((number << 3 | chance.choice((0, 0, 0, 2)), chance.randrange(128)))
    return fields


def some_bytes(chance, most):
    return chance.randbytes(chance.randrange(most))


def a_message(chance):
    messages = [(envelope(chance), some_bytes(chance, 200)) for _ in range(chance.randrange(4))]
    data = bytearray(bundle(chance, messages))
    for _ in range(chance.choice((0, 0, 1, 4))):
        data[chance.choice((0, 1, chance.randrange(14, len(data))))] = chance.randrange(256)
    return bytes(data[:chance.choice((len(data), len(data), chance.randrange(len(data) + 1)))])


def conversation(chance):
    """Everything one stranger says."""
    kind = chance.randrange(8)
    if kind == 0:
        return some_bytes(chance, 400)
    if kind == 1:
        return greeting()[:chance.randrange(64)]
    if kind == 2:
        return greeting(chance.choice((b"PLAIN", b"CURVE", b"\xff" * 20)), (chance.randrange(256), chance.randrange(4)))
    hello = greeting() + ready(b"stranger%d" % chance.randrange(1 << 30), chance.choice((b"DEALER", b"DEALER", b"REQ")))
    if kind == 3:
        return hello + some_bytes(chance, 400)
    if kind == 4:
        return hello + struct.pack(">BQ", LONG, chance.choice((1 << 20, 1 << 31, (1 << 63) - 1, (1 << 64) - 1))) + b"x"
    if kind == 5:
        parts = [frame(some_bytes(chance, 50), MORE) for _ in range(chance.randrange(1, 30))]
        return hello + b"".join(parts) + frame(b"")
    return hello + b"".join(frame(a_message(chance)) for _ in range(chance.randrange(1, 100)))


class HostileBus(ClusterCase):
    N_NODES = 1

    def sockets(self):
        paths = glob.glob(os.path.join(self.region.node(1).run_dir, "*"))
        return sorted(path for path in paths if os.path.exists(path) and (os.stat(path).st_mode & 0o170000) == 0o140000)

    def speak(self, path, words):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.settimeout(0.05)
            try:
                stranger.connect(path)
                stranger.sendall(words[:64])
                stranger.recv(4096)
                stranger.sendall(words[64:])
                time.sleep(0.005)  # what is still unread when a connection closes is lost
            except (TimeoutError, ConnectionError, BrokenPipeError):
                pass

    def test_strangers_are_heard_and_nobody_ends(self):
        node, seed = self.region.node(1), int(os.environ.get("LM_SEED", "1"))
        pids, paths = node.wait_actors(), self.sockets()
        self.assertGreaterEqual(len(paths), 5, paths)
        chance, said, end = random.Random(seed), 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            for path in paths:
                self.speak(path, conversation(chance))
                said += 1
            if said % 50 < len(paths):
                name = "hostile-%d" % said
                self.assert_granted(node.client.acquire(name, "a"))
        unread = lambda: node.metric("lockmgr_bus_undecodable_total", actor="raft") or 0
        wait_for("raft counts what it could not read", lambda: unread() > 100, 10)
        print("seed %d: %d conversations at %d sockets, %d messages that raft could not read" % (
            seed, said, len(paths), unread()))
        self.assertEqual(node.actor_pids(), pids, "an actor has ended")
        self.assert_granted(node.client.acquire("afterwards", "a"))
        self.assertEqual(node.http("/readyz")[0], 200)


if __name__ == "__main__":
    main()
