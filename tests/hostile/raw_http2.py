"""HTTP/2 and gRPC by hand, so that what no library would send can be sent."""

import os
import socket
import ssl
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 1
END_HEADERS = 4
CANCEL = 8
INITIAL_WINDOW_SIZE = 4

ACQUIRE = "/lockmgr.v1.LockService/Acquire"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
LINK = "/lockmgr.peer.v1.RaftService/Link"
FORWARD = "/lockmgr.peer.v1.RaftService/Forward"


def frame(kind, flags=0, stream=0, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + body


def settings(**values):
    return frame(SETTINGS, body=b"".join(struct.pack(">HI", key, value) for key, value in values.get("rows", ())))


def hpack_int(value, bits, first=0):
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out, value = bytearray((first | most,)), value - most
    while value >= 128:
        out.append(128 | value & 127)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return hpack_int(len(value), 7) + value


def literal(name, value, index=False):
    """A header field as it is, without tables; index: it is to be remembered in the table."""
    return (b"\x40" if index else b"\x00") + text(name) + text(value)


def request_headers(path, method="POST", content_type="application/grpc", more=()):
    rows = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers")]
    if content_type:
        rows.append(("content-type", content_type))
    return b"".join(literal(name, value) for name, value in (*rows, *more))


ROWS = 6


def remembered_headers(path):
    """Those of a request, to be remembered by the other side; and the same by their places in its table."""
    rows = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers"),
            ("content-type", "application/grpc")]
    return (b"".join(literal(name, value, index=True) for name, value in rows),
            bytes(0x80 | 61 + ROWS - place for place in range(ROWS)))


def message(body, compressed=0, size=None):
    return struct.pack(">BI", compressed, len(body) if size is None else size) + body


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(128 | value & 127)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A protobuf field: of bytes, text or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tls_context(folder, client):
    """Of a client that trusts the authority whose files are in that folder and, with a name, shows the
    certificate of that name."""
    context = ssl.create_default_context(cafile=os.path.join(folder, "ca.crt"))
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if client:
        context.load_cert_chain(os.path.join(folder, client + ".crt"), os.path.join(folder, client + ".key"))
    return context


class Connection:
    """A connection, of TLS where there is a context. It may end at any moment: that is an OSError."""

    context = None

    def __init__(self, port, hello=True, rows=(), plain=False):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context and not plain:
            self.socket = self.context.wrap_socket(self.socket)
        self.stream = -1
        if hello:
            self.send(PREFACE + settings(rows=rows))

    def send(self, data):
        self.socket.sendall(data)

    def next_stream(self):
        self.stream += 2
        return self.stream

    def drain(self):
        """Throws away what has come. OSError if the other side has closed."""
        self.socket.setblocking(False)
        try:
            while True:
                if not self.socket.recv(1 << 16):
                    raise ConnectionResetError("closed by the node")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self.socket.settimeout(5)

    def frames(self, seconds):
        """(kind, flags, stream, body) of what comes, until that many seconds are over or the other
        side has closed."""
        data, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            while len(data) >= 9:
                size = int.from_bytes(data[:3], "big")
                if len(data) < 9 + size:
                    break
                yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + size]
                data = data[9 + size:]
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                more = self.socket.recv(1 << 16)
            except socket.timeout:
                return
            if not more:
                return
            data += more

    def close(self):
        self.socket.close()
