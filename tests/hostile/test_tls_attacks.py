#!/usr/bin/python3
"""The attacks for which it matters that connections are TLS, from two sources at once: one has a certificate of a
client, one has none. As long as those of test_attacks.py."""

import siege

from certs import Certs
from siege import Siege

ATTACKS = ("greetings", "half_open_greetings", "rapid_reset")


class TlsAttacks(Siege):
    @classmethod
    def setUpClass(cls):
        cls.certs = Certs()
        cls.addClassCleanup(cls.certs.close)
        cls.credentials = cls.certs.credentials("tester")
        cls.SOURCES = ((cls.certs.folder, "tester"), (cls.certs.folder, ""))
        super().setUpClass()


for one in siege.ONLY or ATTACKS:
    siege.add(TlsAttacks, one)

if __name__ == "__main__":
    siege.main()
