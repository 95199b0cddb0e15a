#!/usr/bin/python3
"""Hostile clients at the plaintext ports of a region of three nodes, and what well-behaved clients get before,
while and after. A second for each attack, twenty with LM_TEST_FULL=1, LM_HOSTILE_SECONDS=60 for a release; LM_HOSTILE_ONLY=a,b picks some."""

import attacks
import siege
from siege import Siege


class Attacks(Siege):
    pass


for one in siege.ONLY or attacks.ATTACKS:
    siege.add(Attacks, one)

if __name__ == "__main__":
    siege.main()
