"""What is in the data directories of nodes, and what happens there.

A snapshot leaves these steps behind it, in this order: a part of an image is made and grows, gets the
name of an image; the engine's snapshot that describes it is made, in two files; older snapshots and
images go, and so do the segments of the log that nobody needs any more. An image that comes from the
leader takes the same way.
"""

import ctypes
import os
import re
import select
import struct
import threading
import time

CREATE, MOVED_TO, DELETE = 0x100, 0x80, 0x200

PART = re.compile(r"^image\.part-(\d+)-(\d+)$")
DAMAGED = 79  # how a node ends whose files are
IMAGE = re.compile(r"^image-(\d+)-(\d+)$")
SNAPSHOT = re.compile(r"^snapshot-(\d+)-(\d+)-(\d+)$")
DESCRIPTION = re.compile(r"^snapshot-(\d+)-(\d+)-(\d+)\.meta$")
SEGMENT = re.compile(r"^(\d{16})-(\d{16})$")
OPEN_SEGMENT = re.compile(r"^open-(\d+)$")

# Step, what the kernel says, whose name. A file that is linked into place is created, one that is
# renamed is moved.
STEPS = (
    ("part begun", CREATE, PART),
    ("image named", CREATE | MOVED_TO, IMAGE),
    ("description named", CREATE | MOVED_TO, DESCRIPTION),
    ("snapshot named", CREATE | MOVED_TO, SNAPSHOT),
    ("old snapshot removed", DELETE, SNAPSHOT),
    ("old image removed", DELETE, IMAGE),
    ("segment removed", DELETE, SEGMENT),
    ("part removed", DELETE, PART),
)


def step_of(mask, name):
    for step, wanted, pattern in STEPS:
        if mask & wanted and pattern.match(name):
            return step
    return None


# ---- what is there -------------------------------------------------------------------------------

def files(path):
    """Name -> size of everything in a directory; what goes meanwhile is left out."""
    found = {}
    for entry in os.scandir(path):
        try:
            found[entry.name] = entry.stat().st_size
        except OSError:
            pass
    return found


def disk_bytes(path):
    """Space that is taken, holes not counted."""
    total = 0
    for entry in os.scandir(path):
        try:
            total += entry.stat().st_blocks * 512
        except OSError:
            pass
    return total


def matching(path, pattern):
    return sorted(name for name in files(path) if pattern.match(name))


def newest_image(path):
    """(index, size) of the newest complete image; (0, 0) if there is none."""
    found = [(int(IMAGE.match(name).group(2)), size) for name, size in files(path).items()
             if IMAGE.match(name)]
    return max(found, default=(0, 0))


def newest_snapshot(path):
    """Index of the newest snapshot that the engine knows; 0 if there is none."""
    return max((int(SNAPSHOT.match(name).group(2)) for name in matching(path, SNAPSHOT)), default=0)


def flip(path, place):
    """Inverts one bit of the byte at that place."""
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))


def newest_image_name(path):
    """Name of the newest complete image, which must be there."""
    return max(matching(path, IMAGE), key=lambda name: int(IMAGE.match(name).group(2)))


# ---- what happens --------------------------------------------------------------------------------

class Watch(threading.Thread):
    """Calls on_step(node, step, name) from its own thread as soon as the kernel tells of a step, and
    notes all in .events as (time on CLOCK_MONOTONIC, node's name, step, name of the file)."""

    def __init__(self, nodes, on_step=None):
        super().__init__(daemon=True)
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self.events, self.on_step, self._nodes, self._running = [], on_step, {}, True
        for node in nodes:
            mark = libc.inotify_add_watch(self._fd, node.data_dir.encode(),
                                          CREATE | MOVED_TO | DELETE)
            if mark < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", node.data_dir)
            self._nodes[mark] = node
        self.start()

    def run(self):
        while self._running:
            if not select.select([self._fd], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                continue
            self._read(data)

    def _read(self, data):
        at = 0
        while at < len(data):
            mark, mask, _, size = struct.unpack_from("iIII", data, at)
            name = data[at + 16:at + 16 + size].rstrip(b"\0").decode()
            at += 16 + size
            step, node = step_of(mask, name), self._nodes.get(mark)
            if step is None or node is None:
                continue
            self.events.append((time.monotonic(), node.name, step, name))
            if self.on_step is not None:
                self.on_step(node, step, name)

    def stop(self):
        self._running = False
        self.join()
        os.close(self._fd)
        return self.events

    def snapshots(self, node):
        """(begin, end, name of the image) of each image of a node that was completed."""
        begun, found = {}, []
        for when, name, step, file in list(self.events):
            if name != node.name:
                continue
            if step == "part begun":
                begun[file.replace("image.part-", "image-")] = when
            elif step == "image named" and file in begun:
                found.append((begun.pop(file), when, file))
        return found


class DiskUse(threading.Thread):
    """Looks again and again how much space each node takes; .samples holds (time, node's name,
    bytes)."""

    def __init__(self, nodes, pause=0.5):
        super().__init__(daemon=True)
        self.nodes, self.pause, self.samples = nodes, pause, []
        self._end = threading.Event()
        self.start()

    def run(self):
        while not self._end.wait(self.pause):
            for node in self.nodes:
                self.samples.append((time.monotonic(), node.name, disk_bytes(node.data_dir)))

    def stop(self):
        self._end.set()
        self.join()

    def most(self, node, begin=0, end=float("inf")):
        return max((size for when, name, size in self.samples
                    if name == node.name and begin <= when <= end), default=0)
