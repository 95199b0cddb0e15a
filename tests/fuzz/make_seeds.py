#!/usr/bin/python3
"""Makes the seeds of the corpora: real messages, frames, files and stories, one file each.

usage: make_seeds.py SOURCE_DIR BUILD_DIR      writes SOURCE_DIR/tests/fuzz/corpus/TARGET/seed-NAME

What fuzzers found later lies beside the seeds and is left alone.
"""
import os
import re
import struct
import sys
import zlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CLUSTER = "0123456789abcdef0123456789abcdef"
HISTORY = "fedcba9876543210fedcba9876543210"
PACKAGES = {"api": "lockmgr.v1", "log": "lockmgr.log.v1", "peer": "lockmgr.peer.v1", "bus": "lockmgr.bus.v1",
            "region": "lockmgr.region.v1", "rpc": "google.rpc", "health": "grpc.health.v1",
            "reflection": "grpc.reflection.v1"}


class Messages:
    """Message classes from the descriptors that the build makes."""

    def __init__(self, build):
        files = descriptor_pb2.FileDescriptorSet()
        with open(os.path.join(build, "lib/wire/gen/descriptors.binpb"), "rb") as f:
            files.ParseFromString(f.read())
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        self.factory = message_factory.MessageFactory(self.pool)

    def make(self, name, /, **fields):
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(name))(**fields)

    def by_c_name(self, name):
        """lm_bus_ping_type is called bus_ping in the register."""
        package, rest = name.split("_", 1)
        return PACKAGES[package] + "." + "".join(word.capitalize() for word in rest.split("_"))

    def full(self, name, which=0):
        """A message with every field set; of each oneof, member number `which`."""
        message = self.make(name)
        fill(message, which)
        return message


def value_of(field, n):
    if field.type in (field.TYPE_STRING,):
        return ["a/b", "n2", CLUSTER, "1-1"][n % 4]
    if field.type == field.TYPE_BYTES:
        return b"bytes 16 of them"
    if field.type == field.TYPE_BOOL:
        return True
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return 0.5
    if field.type == field.TYPE_ENUM:
        return field.enum_type.values[-1].number
    return 1 + n


def fill(message, which, depth=0):
    chosen = {one.name: one.fields[which % len(one.fields)].name for one in message.DESCRIPTOR.oneofs}
    for n, field in enumerate(message.DESCRIPTOR.fields):
        one = field.containing_oneof
        if one is not None and chosen[one.name] != field.name:
            continue
        if field.type == field.TYPE_MESSAGE:
            if depth > 3 or field.message_type.GetOptions().map_entry:
                continue
            inner = getattr(message, field.name)
            fill(inner.add() if field.label == field.LABEL_REPEATED else inner, which, depth + 1)
            if field.label != field.LABEL_REPEATED:
                inner.SetInParent()
        elif field.label == field.LABEL_REPEATED:
            getattr(message, field.name).append(value_of(field, n))
        else:
            setattr(message, field.name, value_of(field, n))


def oneof_members(messages, name):
    descriptor = messages.pool.FindMessageTypeByName(name)
    return max([len(one.fields) for one in descriptor.oneofs], default=1)


def block(data):
    return struct.pack("<H", len(data)) + data


def byte(*values):
    return bytes(values)


class Corpus:
    def __init__(self, source):
        self.root = os.path.join(source, "tests/fuzz/corpus")
        self.n = 0
        for target in os.listdir(self.root) if os.path.isdir(self.root) else []:
            for name in os.listdir(os.path.join(self.root, target)):
                if name.startswith("seed-"):
                    os.unlink(os.path.join(self.root, target, name))

    def add(self, target, name, data):
        folder = os.path.join(self.root, target)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "seed-" + name), "wb") as f:
            f.write(data)
        self.n += 1


def register(source):
    """(number, name, body type) of every bus message."""
    with open(os.path.join(source, "proto/bus_messages.def"), encoding="utf-8") as f:
        text = f.read()
    rows = re.findall(r"^LM_MESSAGE\((\d+),\s*(\w+),([^,]*),([^,]*),\s*(\w+),\s*(\w+),", text, re.M)
    return [(int(row[0]), row[1], row[5], row[4]) for row in rows]


# ---- messages ------------------------------------------------------------------------------------

def wire(corpus, messages, source):
    """Register rows by number; the others by their place in the list of fuzz_wire.c."""
    for number, name, body, _ in register(source):
        full = messages.by_c_name(body)
        for which in range(min(oneof_members(messages, full), 6)):
            corpus.add("wire", f"{name.lower()}-{which}", byte(number) + messages.full(full, which).SerializeToString())
    with open(os.path.join(source, "tests/fuzz/fuzz_wire.c"), encoding="utf-8") as f:
        others = re.findall(r"^    &lm_(\w+)_type,", f.read(), re.M)
    for place, name in enumerate(others):
        full = messages.by_c_name(name)
        for which in range(oneof_members(messages, full)):
            corpus.add("wire", f"{name}-{which}",
                       byte(128 + place) + messages.full(full, which).SerializeToString())


def envelope(messages, number, sender, receiver, correlation=0):
    generation = {"boot_id": 1, "counter": 1}
    return messages.make("lockmgr.bus.v1.Envelope", version=1, number=number, to=receiver, from_generation=generation,
                         to_generation=generation, correlation=correlation, **{"from": sender}).SerializeToString()


def bundle_of(sender, pairs):
    head = struct.pack("<BBQII", 1, sender, 1, 1, len(pairs))
    return head + b"".join(struct.pack("<II", len(e), len(b)) + e + b for e, b in pairs)


def bundles(corpus, messages, source):
    rows = register(source)
    corpus.add("bundle", "empty", bundle_of(3, []))
    for number, name, body, kind in rows[::4]:
        full = messages.full(messages.by_c_name(body)).SerializeToString()
        correlation = 7 if kind in ("CALL", "REPLY") else 0
        corpus.add("bundle", name.lower(), bundle_of(3, [(envelope(messages, number, 3, 2, correlation), full)]))
    pairs = [(envelope(messages, number, 3, 2), b"") for number, *_ in rows[:12]]
    corpus.add("bundle", "many", bundle_of(3, pairs))
    corpus.add("bundle", "torn", bundle_of(3, pairs)[:-5])


PARTICIPANTS = ["SUPERVISOR", "RAFT", "LOCK", "GATEWAY", "CLIENTS", "PEERS", "HEALTH"]


def dispatch(corpus, messages, source):
    with open(os.path.join(source, "proto/bus_messages.def"), encoding="utf-8") as f:
        rows = re.findall(r"^LM_MESSAGE\((\d+),\s*\w+,([^,]*),([^,]*),\s*(\w+),\s*(\w+),", f.read(), re.M)
    for place, name in enumerate(PARTICIPANTS):
        story = byte(place)
        for number, senders, receivers, kind, body in rows:
            heard = name in receivers or ("ACTORS" in receivers and name != "SUPERVISOR")
            if not heard:
                continue
            sender = 1 + next((i for i, p in enumerate(PARTICIPANTS) if p in senders), 1)
            full = messages.full(messages.by_c_name(body)).SerializeToString()
            correlation = 3 if kind in ("CALL", "REPLY") else 0
            story += block(envelope(messages, int(number), sender, place + 1, correlation)) + block(full)
            story += block(b"") + byte(0, int(number), sender, correlation) + block(full)
        corpus.add("dispatch", name.lower(), story[:4096])


# ---- frontend rooms ------------------------------------------------------------------------------

def clients(corpus, messages):
    """Steps of fuzz_clients.c by their numbers."""
    def call(method, message, odd=0):
        return byte(0, method, odd) + block(message.SerializeToString())

    def make(name, /, **fields):
        return messages.make("lockmgr.v1." + name, **fields)
    acquire = make("AcquireRequest", name="a/b", owner="me", request_id="id", ttl_ms=30000, wait_ms=-1)
    release = make("ReleaseRequest", name="a/b", owner="me", hold_id="1-1", request_id="id2")
    calls = [acquire, release, make("RenewRequest", name="a/b", owner="me", hold_id="1-1"),
             make("CancelRequest", owner="me", request_id="id"), make("GetRequest", name="a/b"),
             make("ListRequest", prefix="a", page_size=5), make("GetStatusRequest")]
    granted, held, away = byte(8, 1, 1, 0), byte(8, 2, 13, 0), byte(8, 3, 0, 2)
    leads = byte(9, 3)
    for place, message in enumerate(calls):
        corpus.add("clients", f"call-{place}", leads + call(place, message) + granted + byte(4, 2, 0))
    context = messages.make("lockmgr.peer.v1.CallContext", stamped=True, stamp=4, remaining_ms=5000)
    inner = messages.make("lockmgr.peer.v1.LockCall", context=context, acquire=acquire)
    passed = messages.make("lockmgr.peer.v1.ForwardRequest", cluster_id="c", call=inner, forward_id=9,
                           **{"from": "n2"})
    gone = messages.make("lockmgr.peer.v1.UndeliveredRequest", cluster_id="c", forward_id=9, **{"from": "n2"})
    back = messages.full("lockmgr.peer.v1.ForwardResponse").SerializeToString()
    check = messages.make("grpc.health.v1.HealthCheckRequest", service="lockmgr.v1.LockService")
    corpus.add("clients", "forwarded", leads + call(7, passed) + granted + call(8, gone) + byte(4, 2, 0))
    corpus.add("clients", "passed-on", leads + call(0, acquire) + away + byte(5, 0, 0) + block(back))
    corpus.add("clients", "passed-on-fails", leads + call(0, acquire) + away + byte(5, 14, 0) + block(b"") + byte(11)
               + b"\xff\xff\x03" + granted)
    corpus.add("clients", "refused", leads + call(1, release) + held)
    corpus.add("clients", "health", call(9, check) + byte(1, 0) + block(check.SerializeToString()) + leads
               + byte(12, 1, 12, 2))
    for which in range(5):
        asked = messages.full("grpc.reflection.v1.ServerReflectionRequest", which).SerializeToString()
        corpus.add("clients", f"reflection-{which}", byte(1, 1) + block(asked) + byte(1, 2) + block(asked) + byte(3, 0))
    symbol = messages.make("grpc.reflection.v1.ServerReflectionRequest",
                           file_containing_symbol="lockmgr.v1.LockService").SerializeToString()
    corpus.add("clients", "reflection-symbol", byte(1, 1) + block(symbol))
    answer = messages.full("lockmgr.peer.v1.LockAnswer").SerializeToString()
    corpus.add("clients", "raw-answer", leads + call(0, acquire) + byte(6) + block(answer))
    status = messages.full("lockmgr.v1.GetStatusResponse").SerializeToString()
    corpus.add("clients", "raw-status", byte(7) + block(status) + call(6, calls[6]) + byte(7) + block(status))
    corpus.add("clients", "lock-restarts", leads + call(0, acquire) + byte(10) + leads + granted + byte(14))


def peers(corpus, messages):
    hello = messages.make("lockmgr.peer.v1.LinkHello", version=1, region="r", to="n1", cluster_id="c", server_id=22,
                          **{"from": "n2"})
    request = messages.make("lockmgr.peer.v1.LinkRequest", hello=hello).SerializeToString()
    frame = messages.make("lockmgr.peer.v1.LinkRequest", frame=b"any frame").SerializeToString()
    response = messages.make("lockmgr.peer.v1.LinkResponse", hello=hello).SerializeToString()
    region = messages.full("lockmgr.region.v1.HelloRequest").SerializeToString()
    corpus.add("peers", "link", byte(12, 0) + block(request) + byte(2, 0) + block(frame) + byte(5, 0))
    corpus.add("peers", "good-link", byte(12, 1, 0, 3, 0) + block(b"frame") + byte(4, 0))
    corpus.add("peers", "own-link", byte(12, 6, 0) + block(response) + byte(7, 0, 0, 7, 1, 1))
    corpus.add("peers", "own-link-ends", byte(12, 7, 0, 0, 8, 14, 0) + block(b"") + byte(13) + b"\xff\xff\x1f")
    corpus.add("peers", "region", byte(11) + block(region) + byte(10) + block(
        messages.full("lockmgr.bus.v1.RegionHelloAnswer").SerializeToString()))
    for which, name in enumerate(["PeerSend", "RaftIdentity", "RegionHelloOut", "NodeMode"]):
        full = messages.full("lockmgr.bus.v1." + name).SerializeToString()
        corpus.add("peers", name.lower(), byte(12, 7, 0, 0, 9, which) + block(full) + byte(13) + b"\xff\xff\x0f")


# ---- raft ----------------------------------------------------------------------------------------

def keyed(corpus, messages):
    """Steps of fuzz_keyed.c; behind a nonce: how its proof is made (0 good, 2 a bit turned, 3 any bytes)."""
    nonce = bytes(range(32))
    frame = byte(2, 0) + block(b"frame")
    hello = byte(0) + nonce + byte(1)
    for name, proof in (("good", byte(0)), ("turned", byte(2)), ("any", byte(3) + block(nonce))):
        corpus.add("keyed", "link-" + name, hello + byte(1, 0) + proof + frame)
        corpus.add("keyed", "own-link-" + name, byte(4, 0) + nonce + proof)
        corpus.add("keyed", "region-" + name, byte(6) + nonce + proof)
        corpus.add("keyed", "greet-" + name, byte(8) + 2 * (byte(9, 0) + nonce + proof))
    corpus.add("keyed", "link-again", 2 * (hello + byte(1, 0, 0) + frame) + byte(13, 1, 0))
    corpus.add("keyed", "no-proof", hello + frame + byte(0) + nonce + byte(0) + frame)
    request = messages.make("lockmgr.peer.v1.LinkRequest", hello={
        "version": 1, "region": "r", "from": "n2", "to": "n1", "cluster_id": "c", "nonce": nonce})
    proof = messages.make("lockmgr.peer.v1.LinkRequest", proof=nonce)
    corpus.add("keyed", "said", byte(3, 0) + block(request.SerializeToString()) + byte(3, 0) + block(
        proof.SerializeToString()) + frame)
    response = messages.make("lockmgr.peer.v1.LinkResponse", hello={
        "version": 1, "region": "r", "from": "n2", "to": "n1", "nonce": nonce, "proof": nonce})
    corpus.add("keyed", "heard", byte(5, 0) + block(response.SerializeToString()) + byte(12) + b"\xff\xff\x1f")
    greeting = messages.full("lockmgr.region.v1.HelloRequest").SerializeToString()
    answer = messages.full("lockmgr.region.v1.HelloResponse").SerializeToString()
    corpus.add("keyed", "any-region", byte(7) + block(greeting) + byte(8, 10, 0) + block(answer))
    for name, turned in (("", 0), ("-turned", 64)):
        corpus.add("keyed", "seal" + name, byte(11) + block(b"message") + byte(9, 0, turned) + block(nonce))


def configuration(servers):
    """As the engine encodes it: format, count, and for each its id, its name, its role."""
    text = struct.pack("<BQ", 1, len(servers))
    for number, name, role in servers:
        text += struct.pack("<Q", number) + name.encode() + b"\0" + byte(role)
    return text + bytes(-len(text) % 8)


VOTERS = configuration([(101, "n1", 1), (202, "n2", 1), (303, "n3", 1)])


def raft_frames(corpus, messages):
    name = "lockmgr.peer.v1.Frame"
    for which in range(oneof_members(messages, name)):
        corpus.add("raft_frames", f"frame-{which}", byte(0) + messages.full(name, which).SerializeToString())
    entries = [{"term": 2, "type": 1, "data": b"eight by"}, {"term": 3, "type": 2, "data": b"eight by"},
               {"term": 3, "type": 3, "data": VOTERS}]
    append = {"term": 3, "prev_log_index": 4, "prev_log_term": 2, "leader_commit": 4, "entries": entries}
    corpus.add("raft_frames", "append", byte(0) + messages.make(name, version=1, append_entries=append)
               .SerializeToString())
    vote = {"version": 2, "term": 3, "candidate_id": 202, "last_log_index": 4, "last_log_term": 2, "pre_vote": True}
    corpus.add("raft_frames", "vote", byte(0) + messages.make(name, version=1, request_vote=vote).SerializeToString())
    corpus.add("raft_frames", "configuration", byte(1) + VOTERS)
    corpus.add("raft_frames", "configuration-roles", byte(1) + configuration([(1, "a", 0), (2, "b", 2)]))
    corpus.add("raft_frames", "configuration-cut", byte(1) + VOTERS[:-9])


def raft_room(corpus):
    """Steps of fuzz_raft_room.c by their numbers."""
    elect = byte(10, 200) * 4 + byte(9) + byte(10, 20) + byte(9, 9)
    lead = elect + byte(12, 1, 9, 12, 0, 9, 13, 9, 9)
    follow = byte(17, 0, 0x07, 0) + byte(17, 0, 0x0a, 0)
    corpus.add("raft_room", "elected", byte(0) + lead)
    corpus.add("raft_room", "elected-second", byte(1) + lead)
    corpus.add("raft_room", "slow-disk", byte(2) + byte(11) * 6 + elect + byte(11) * 8 + byte(12, 1) + byte(11) * 4)
    corpus.add("raft_room", "follows", byte(0) + follow * 3 + byte(10, 250) * 3)
    corpus.add("raft_room", "follows-two", byte(0) + byte(17, 0, 0x07, 0, 17, 1, 0x0b, 0, 17, 0, 0x16, 0))
    corpus.add("raft_room", "deposed", byte(0) + lead + byte(3, 0, 2, 1, 0, 0, 0, 0, 0) + follow + byte(10, 250) * 3)
    corpus.add("raft_room", "transfer", byte(0) + lead + byte(16) + byte(10, 250, 9, 10, 250))
    corpus.add("raft_room", "probes", byte(0) + lead + byte(13, 6, 0, 1, 0, 0, 6, 1, 1, 0, 0) + byte(6, 0, 2, 0, 0))
    corpus.add("raft_room", "acknowledges-too-much", byte(0) + lead + byte(4, 0, 0, 0, 2, 1) + byte(4, 1, 1, 0, 2, 2, 0))
    empty, accept, start = byte(0x24, 0, 0), byte(0xb1), byte(0xb1)
    corpus.add("raft_room", "forms-first", byte(4, 7, 0) + empty + byte(7, 1) + empty + byte(7, 4) + accept + byte(7, 5)
               + accept + lead)
    corpus.add("raft_room", "forms-second", byte(5, 7, 1) + empty + byte(7, 3, 0x30, 7, 7) + start + follow + elect)
    corpus.add("raft_room", "started-before-formed", byte(4, 7, 0) + empty + byte(7, 1) + empty + byte(7, 6) + start
               + byte(7, 4) + accept + byte(7, 5) + accept)
    corpus.add("raft_room", "started-while-forming", byte(6, 7, 0) + empty + byte(7, 1) + empty + byte(11, 7, 6) + start
               + byte(7, 4) + accept + byte(7, 5) + accept + byte(11) * 4)
    for which in range(5):
        corpus.add("raft_room", f"snapshot-{which}", byte(0) + follow + byte(8, which * 2, 0, 2, 3, 0, 0, 0, 8) + bytes(8)
                   + byte(0, 0) + block(b"piece"))
    corpus.add("raft_room", "lock-restarts", byte(0) + lead + byte(14, 0, 14, 4, 14, 1) + byte(15, 0, 15, 6, 15, 3))


def segment(batches, good=True):
    """A segment file: format, then batches of (term, type, data), with their checksums."""
    def crc(data):
        value = 0
        for octet in data:
            value ^= octet << 24
            for _ in range(8):
                value = ((value << 1) ^ (0x04c11db7 if value >> 31 else 0)) & 0xffffffff
        return value if good else 0
    file = struct.pack("<Q", 1)
    for entries in batches:
        head, body = struct.pack("<Q", len(entries)), b""
        for term, kind, data in entries:
            head += struct.pack("<QB3xI", term, kind, len(data))
            body += data + bytes(-len(data) % 8)
        file += struct.pack("<II", crc(head), crc(body)) + head + body
    return file


def files(corpus):
    entries = [(1, 3, VOTERS), (2, 1, b"eight by"), (2, 1, b"sixteen bytes...")]
    corpus.add("segment", "one", byte(0) + segment([entries]))
    corpus.add("segment", "two", byte(0) + segment([entries[:1], entries[1:]]))
    corpus.add("segment", "open", byte(0) + segment([entries, entries[1:]]) + bytes(256))
    corpus.add("segment", "bad-then-good", byte(0) + segment([entries[1:]], False) + segment([entries])[8:])
    corpus.add("segment", "to-be-made-good", byte(1) + segment([entries[1:], entries[2:]], False))
    corpus.add("segment", "cut", byte(0) + segment([entries])[:-12])
    def vote(version, term, voted):
        return struct.pack("<4Q", 1, version, term, voted)
    votes = byte(0) + block(vote(1, 1, 0)) + byte(1) + block(vote(2, 2, 202))
    first, second = segment([entries[:1]]), segment([entries[1:]])
    corpus.add("datadir", "empty", byte(0))
    corpus.add("datadir", "started", byte(3) + votes + byte(2) + block(segment([entries])))
    corpus.add("datadir", "closed", byte(3) + votes + byte(4) + block(first) + byte(6) + block(second))
    corpus.add("datadir", "twins", byte(3) + votes + byte(4) + block(first) + byte(5) + block(segment([entries])))
    corpus.add("datadir", "gap", byte(3) + votes + byte(4) + block(first) + byte(7) + block(second) + byte(9, 0, 0))
    corpus.add("datadir", "all", byte(3) + votes + b"".join(byte(n) + block(first) for n in range(2, 15)))
    lines = f"lockmgr-identity 1\nregion r\nnode n1\ncluster {CLUSTER}\nhistory {HISTORY}\nepoch 0\nstage "
    servers = "server 101 n1\nserver 202 n2\nserver 303 n3\n"
    for stage in ("accepted", "formed", "started"):
        text = (lines + stage + "\n" + servers).encode()
        corpus.add("identity", stage, text + b"crc %08x\n" % zlib.crc32(text) + b" ")
        corpus.add("identity", stage + "-summed", text)
    corpus.add("identity", "without-itself", (lines + "started\nserver 202 n2\n").encode())


def crc32c(data):
    value = 0xffffffff
    for octet in data:
        value ^= octet
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff


def data_files(corpus):
    """The sums at the end of heads and slots are made good by the target."""
    def slot(sequence, last, recent=0):
        text = b"LMWATERM" + struct.pack("<11Q", 1, sequence, last, 1, 7, 1, 5, 0, 2, 202, recent)
        return (text + b"".join(struct.pack("<QI", 2 + n, n) for n in range(recent))).ljust(512, b"\0")

    def head(magic, length, crc, extra, size):
        return (magic + struct.pack("<8Q", 1, 2, 2, 1, length, 99, crc, extra)).ljust(size, b"\0")
    body = b"the body of an image"
    corpus.add("datafile", "watermark", byte(128, 0) + slot(2, 5, 3).ljust(4096, b"\0") + slot(3, 6, 16))
    corpus.add("datafile", "watermark-one-slot", byte(128, 0) + slot(2, 5).ljust(4096, b"\0") + bytes(512))
    for kind, name in ((1, "image"), (2, "part")):
        for complete in (0, 1):
            first = head(b"LMIMAGE\0", len(body), crc32c(body), complete, 4096)
            corpus.add("datafile", f"{name}-{complete}", byte(128 + kind, len(body)) + first + body)
            corpus.add("datafile", f"{name}-short-{complete}", byte(128 + kind, len(body)) + first + body[:7])
    corpus.add("datafile", "descriptor", byte(131, 20) + head(b"LMSNAPSH", 20, 1, 0, 128))


def commands(corpus, messages):
    """Log entries, and stories of fuzz_story.c: kind, what, who, and what the kind wants besides."""
    pair = {"term": 1, "boot_id": 1, "counter": 1}
    key = {"identity": "", "owner": "o", "request_id": "1"}
    settings = {"semantics": 1, "waiters_per_lock_max": 9, "locks_max": 9, "holds_per_owner_max": 9,
                "record_ring_size": 9, "sessions_max": 9, "session_window": 4}
    part = {"session": 2, "secret": bytes(16), "request_number": 1}
    bodies = [{"takeover": {"settings": settings}},
              {"acquire": {"key": key, "name": "a", "mode": 1, "ttl_ms": 30000, "wait": True}},
              {"release": {"key": key, "name": "a", "hold": 2}}, {"renew": {"owner": "o", "name": "a", "hold": 2}},
              {"expire": {"name": "a", "hold": 2, "basis": 2}}, {"leave": {"name": "a", "wait": 2}},
              {"abandon": {"name": "a", "hold": 2}}, {"wait_timeout": {"name": "a", "wait": 2}},
              {"cancel": {"key": key}},
              {"open_session": {"key": key, "ttl_ms": 30000, "secret": bytes(16)}},
              {"keep_alive": {"session": 2, "secret": bytes(16), "done_below": 1}},
              {"acquire": {"key": {}, "name": "a", "mode": 1, "wait": True, "in": part}},
              {"close_session": {"session": 2, "secret": bytes(16)}},
              {"expire_session": {"session": 2, "basis": 2}}]
    list_of = [messages.make("lockmgr.log.v1.Command", pair=pair, **body) for body in bodies]

    def entry(members):
        batch = messages.make("lockmgr.log.v1.Batch", version=1, commands=members).SerializeToString()
        text = b"LML\x01" + struct.pack("<I", len(batch)) + batch
        return byte(255) + block(text + bytes(-len(text) % 8))
    corpus.add("command", "all-kinds", byte(0) + entry(list_of))
    corpus.add("command", "one-by-one", byte(0) + b"".join(entry([member]) for member in list_of))
    takes = [byte(0, name, owner) for owner in range(4) for name in (0x10, 0x11, 0x18)]
    ends = [byte(kind, 0x10, 0, 0, 0, 0, kind) + bytes(8) for kind in (1, 2, 3, 4, 5, 6, 7)]
    takeover = byte(11, 0, 0, 0, 0, 0, 0, 0)
    opens = [byte(240, 0x10, owner, 0) for owner in range(3)]
    inside = [byte(204, name, 0, how) for name in (0x10, 0x11, 0x18) for how in range(6)]
    leaves = [byte(241, 0, 0, 0x41), byte(206, 0x10, 0, 0, 0, 0, 0, 0, 0, 1), byte(242, 0, 0, 1), byte(243, 0, 0, 0)]
    story = [takeover] + takes + opens + inside + ends + leaves
    corpus.add("command", "story", byte(0) + b"".join(byte(0) + step for step in story))
    for place, cut in enumerate((1, 5, 30)):
        corpus.add("image", f"story-{place}", byte(1 + place * 16, cut) + b"".join(story + takes))
        corpus.add("image", f"flipped-{place}", byte(3, cut, 40 + place) + b"".join(story + takes))


def access_seeds(source):
    with open(os.path.join(source, "deploy", "access.example"), "rb") as f:
        yield "example", b"".join(line for line in f if not line.startswith(b"#"))
    yield "words", b'token a ' + b"0a" * 32 + b'\ngrant "a \\" b" reader "" # c\n\tgrant * locker x/\r\n'
    yield "operator", b"grant o operator\ngrant o admin o/\n"
    yield "no-end", b"grant a reader x"
    yield "wrong", b'grant\ntoken x y\n"\ngrant a b c d\ngive\ngrant \xff reader ""\n'


def texts(corpus, source):
    for place, name in enumerate(("lockmgr.cfg", "region-node.cfg", "single-node.cfg")):
        with open(os.path.join(source, "deploy", name), "rb") as f:
            text = f.read()
        lean = b"\n".join(line for line in text.splitlines() if line.strip() and not line.strip().startswith(b"#"))
        corpus.add("config", name, lean)
        corpus.add("config", f"environment-{place}", lean + b"\x01LOCKMGR_NODE=n2\x01LOCKMGR_LOG_LEVEL=debug\x01"
                   b"LOCKMGR_GRPC_PORT=99999\x01LOCKMGR_UNKNOWN=1")
    for name, text in access_seeds(source):
        corpus.add("access", name, text)
    for place, words in enumerate(("acquire a --ttl 30s -w 1.5s -o json", "release a --hold-id 1-1 --owner=me -q",
                                   "run a -n -s -E 3 --kill-after 1m -- true x", "list --limit 5 --timeout=2h",
                                   "500ms", "get a -x --output yaml --endpoints a:1,b:2 --request-id r")):
        corpus.add("lockctl", str(place), words.replace(" ", "\n").encode())


def actuator(corpus, messages):
    report = messages.full("lockmgr.bus.v1.StatusReport").SerializeToString()
    role = messages.full("lockmgr.bus.v1.RaftRoleEvent").SerializeToString()
    table = messages.full("lockmgr.bus.v1.ChildTable").SerializeToString()
    known = byte(1, 1) + block(report) + byte(1, 2) + block(report) + byte(1, 3) + block(report) + byte(2) + block(
        role) + byte(3) + block(table)
    for page in range(9):
        corpus.add("actuator", f"page-{page}", known + byte(0, page) + block(b""))
    corpus.add("actuator", "metrics", known + byte(0, 5 + 16 + 32) + block(b"") + block(
        b"application/openmetrics-text;q=0.5") + block(b"a,b"))
    corpus.add("actuator", "no-utf8", byte(0, 15) + block(b"/\xff"))


def lock(corpus, messages):
    context = messages.make("lockmgr.peer.v1.CallContext", identity="me", remaining_ms=5000)
    for which in range(6):
        call = messages.full("lockmgr.peer.v1.LockCall", which)
        call.context.CopyFrom(context)
        corpus.add("lock", f"raw-{which}", byte(0) + block(call.SerializeToString()))
    take, wait = byte(1, 0, 0x10, 0), byte(1, 0, 0xa4, 0)
    others = b"".join(byte(1, kind, 0x10, 0) for kind in range(1, 6))
    corpus.add("lock", "calls", take + wait + others + byte(4) + b"\xff\xff\x7f")
    corpus.add("lock", "gone", take + wait + byte(2, 2, 3, 1) + others + byte(5) + take)
    corpus.add("lock", "refused", byte(6, 1) + take + wait + byte(4) + b"\xff\xff\x7f" + byte(6, 0) + others)
    corpus.add("lock", "stamped", take + byte(1, 0, 0x10, 0x1e) + bytes(10) + byte(7, 0, 0) + others)


def main():
    source, build = sys.argv[1], sys.argv[2]
    corpus, messages = Corpus(source), Messages(build)
    wire(corpus, messages, source)
    bundles(corpus, messages, source)
    dispatch(corpus, messages, source)
    clients(corpus, messages)
    peers(corpus, messages)
    keyed(corpus, messages)
    raft_frames(corpus, messages)
    raft_room(corpus)
    files(corpus)
    data_files(corpus)
    commands(corpus, messages)
    texts(corpus, source)
    actuator(corpus, messages)
    lock(corpus, messages)
    print(f"{corpus.n} seeds")


main()
