#!/usr/bin/python3
"""Attacks on the port that the nodes of a region have for each other, where they have one: neither their links nor the
clients at the other port feel them. As long as those of test_attacks.py."""

import siege

from siege import Siege

ATTACKS = ("rapid_reset", "headers_flood", "silent_streams", "idle_connections", "oversized", "garbage", "links")


class RaftPortAttacks(Siege):
    AT = "raft_port"


for one in siege.ONLY or ATTACKS:
    siege.add(RaftPortAttacks, one)

if __name__ == "__main__":
    siege.main()
