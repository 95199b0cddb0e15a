"""Reads units of systemd, and puts a process under the same restrictions without systemd.

Restrictions that are here: SystemCallFilter, SystemCallArchitectures, RestrictAddressFamilies,
RestrictNamespaces, RestrictRealtime, MemoryDenyWriteExecute, NoNewPrivileges and LimitNOFILE, by
libseccomp as systemd does it; but what systemd refuses with EPERM ends the process here, so that a
test cannot miss it.
"""

import ctypes
import os
import resource
import subprocess

KILL, ALLOW, ENOSYS = 0x80000000, 0x7FFF0000, 0x00050000 | 38
EQ, MASKED_EQ = 4, 7
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
FAMILIES_MAX = 46
REAL_TIME = (1, 2, 6)
PR_SET_NO_NEW_PRIVS = 38


def read_unit(path):
    """{section: [(key, value), ...]} in their order."""
    sections, rows = {}, None
    with open(path, encoding="utf-8") as file:
        for line in file.read().splitlines():
            if line.startswith("["):
                rows = sections.setdefault(line.strip("[]"), [])
            elif line and not line.startswith("#"):
                rows.append(tuple(line.split("=", 1)))
    return sections


def values(rows, key):
    return [value for name, value in rows if name == key]


def members(group, seen=None):
    """Names of the system calls of a group of systemd's, other groups in it too."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True,
                          check=True)
    found = set()
    for line in done.stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= members(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def allowed_calls(rows):
    """What the lines of SystemCallFilter leave."""
    found = set()
    for line in values(rows, "SystemCallFilter"):
        names = set()
        for word in line.lstrip("~").split():
            names |= members(word) if word.startswith("@") else {word}
        found = found - names if line.startswith("~") else found | names
    return found | members("@default")


class Argument(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64),
                ("b", ctypes.c_uint64)]


class Filter:
    def __init__(self, library, default):
        self._library = library
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action, name, *arguments):
        """Names that this machine's processor does not have are passed over."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        rows = (Argument * len(arguments))(*arguments)
        done = self._library.seccomp_rule_add_array(self._context, ctypes.c_uint32(action), number,
                                                    len(arguments), rows)
        assert done == 0, (name, done)

    def load(self):
        done = self._library.seccomp_load(self._context)
        assert done == 0, done


class Restrictions:
    """Those of a unit's service; call the object in the child, before it executes the program."""

    def __init__(self, path):
        rows = read_unit(path)["Service"]
        self.calls = sorted(allowed_calls(rows))
        families = " ".join(values(rows, "RestrictAddressFamilies")).split()
        self.families = {FAMILIES[name] for name in families}
        self.files = int(values(rows, "LimitNOFILE")[0])
        for key in "MemoryDenyWriteExecute", "RestrictNamespaces", "RestrictRealtime", "NoNewPrivileges":
            assert values(rows, key) == ["yes"], key
        self._seccomp = ctypes.CDLL("libseccomp.so.2")
        self._libc = ctypes.CDLL(None)

    def _refusals(self):
        rules = Filter(self._seccomp, ALLOW)
        for family in set(range(FAMILIES_MAX)) - self.families:
            rules.add(KILL, "socket", Argument(0, EQ, family, 0))
        for name in "mprotect", "pkey_mprotect":
            rules.add(KILL, name, Argument(2, MASKED_EQ, PROT_EXEC, PROT_EXEC))
        both = PROT_WRITE | PROT_EXEC
        rules.add(KILL, "mmap", Argument(2, MASKED_EQ, both, both))
        rules.add(KILL, "shmat", Argument(2, MASKED_EQ, SHM_EXEC, SHM_EXEC))
        for name in "clone", "unshare":
            for flag in NAMESPACES:
                rules.add(KILL, name, Argument(0, MASKED_EQ, flag, flag))
        for policy in REAL_TIME:
            rules.add(KILL, "sched_setscheduler", Argument(1, EQ, policy, 0))
        rules.add(KILL, "setns")
        rules.add(ENOSYS, "clone3")
        return rules

    def __call__(self):
        files = min(self.files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        os.umask(0o077)
        self._libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        wanted = Filter(self._seccomp, KILL)
        for name in self.calls:
            wanted.add(ALLOW, name)
        self._refusals().load()
        wanted.load()
