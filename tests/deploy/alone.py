"""A network, mounts and processes of one's own: ports that are taken elsewhere are free here, names of
hosts are what a test says, and whatever is started or mounted is gone when the test ends."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SKIPPED = 77


def loopback_up():
    with socket.socket() as any_socket:
        row = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags = struct.unpack("16sH22x", row)[1] | IFF_UP
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags))


def enter(root_wanted=False):
    """Executes this program anew, in such a place. To be called first of all. Where there cannot be one,
    or root is wanted and this is not root, the test is skipped."""
    if os.environ.get("LM_ALONE") == "1":
        loopback_up()
        return
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    way = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if root_wanted and user:
        print("root is needed: skipped")
        sys.exit(SKIPPED)
    done = subprocess.run([*way, "true"], capture_output=True, text=True)
    if done.returncode != 0:
        print("no namespaces here, skipped:", done.stderr.strip())
        sys.exit(SKIPPED)
    os.environ["LM_ALONE"] = "1"
    os.execvp(way[0], [*way, sys.executable, "-B", *sys.argv])


_hosts_are_mine = []


def name_hosts(names):
    """Makes these the only hosts with a name: {name: address}."""
    if not _hosts_are_mine:
        handle, path = tempfile.mkstemp(suffix=".hosts")
        os.fchmod(handle, 0o644)
        os.close(handle)
        subprocess.run(["mount", "--bind", path, "/etc/hosts"], check=True)
        os.unlink(path)
        _hosts_are_mine.append(path)
    with open("/etc/hosts", "w", encoding="utf-8") as file:
        file.writelines("%s %s\n" % (address, name) for name, address in names.items())


class System:
    """A copy of this machine's file system that can be changed and is thrown away: installations."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="lmsystem", dir="/tmp")
        self.root = os.path.join(self.folder, "root")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.folder], check=True)
        for name in "root", "upper", "work":
            os.mkdir(os.path.join(self.folder, name))
        done = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir=%s/upper,workdir=%s/work" %
             (self.folder, self.folder), self.root], capture_output=True, text=True)
        if done.returncode != 0:
            print("no overlay of / here, skipped:", done.stderr.strip())
            sys.exit(SKIPPED)
        for name, kind in ("proc", "proc"), ("run", "tmpfs"), ("tmp", "tmpfs"):
            subprocess.run(["mount", "-t", kind, kind, self.path(name)], check=True)
        subprocess.run(["mount", "--rbind", "/dev", self.path("dev")], check=True)

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def run(self, *command, check=True, **more):
        """Runs a command there; returns what subprocess.run does, output and errors as one text."""
        done = subprocess.run(
            ["chroot", self.root, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}, **more)
        if check and done.returncode != 0:
            raise AssertionError("%s: %d\n%s" % (" ".join(command), done.returncode, done.stdout))
        return done

    def close(self):
        subprocess.run(["umount", "-R", "-l", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
