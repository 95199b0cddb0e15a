"""What callers have seen that took locks and gave them back while something was done to a region: the lines
of `lockctl ping NAME -o json`, read and judged.

1. A hold counts from the answer of its acquire to the call of its release, on one clock: two that overlap on one
   lock are a double grant, and so is a later hold with a token that is not larger.
2. A hold is lost if its release finds that it is no longer there; its lease is much longer than it lasts.
3. A region is away from one grant of a caller to its next one, whatever the reason. That it waits for another
   caller's lock must not be one: most have a lock of their own, and those that share one hold it shortly.
"""

import json


class Traffic:
    """Of several callers, by name."""

    def __init__(self):
        self.holds, self.grants, self.wrong, self.unanswered = [], {}, [], []

    def read(self, caller, text):
        """All lines that a caller has written."""
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                self.wrong.append("%s: %s" % (caller, line))
                continue
            if "granted" in row:
                self.holds.append((row["name"], int(row["token"]), row["granted"], row["released"]))
                self.grants.setdefault(caller, []).append(row["granted"])
                if row["lost"]:
                    self.wrong.append("%s, token %s: lost" % (row["name"], row["token"]))
            elif "unanswered" in row:
                self.unanswered.append((row["at"], "%s of %s: %s" % (row["unanswered"], caller,
                                                                     row["why"])))

    def judge(self):
        """What was wrong, as a list of words."""
        return self.wrong + doubles(self.holds)

    def longest(self, begin, end, callers=None):
        """(seconds, caller, since when) of the longest time without a grant of one caller that touches that
        time. For a caller that was granted nothing any more it goes on until then."""
        return max((after - before, caller, before)
                   for caller, grants in self.grants.items() if not callers or caller in callers
                   for before, after in zip(grants, grants[1:] + [max(end, grants[-1])])
                   if before <= end and after >= begin)


def doubles(holds):
    """Of (lock, token, begin, end): where two had one lock, or a later one has no larger token."""
    wrong = []
    for name in {hold[0] for hold in holds}:
        mine = sorted((hold for hold in holds if hold[0] == name), key=lambda hold: hold[2])
        for one, other in zip(mine, mine[1:]):
            if other[2] < one[3] or other[1] <= one[1]:
                wrong.append("%s: token %d until %.3f, token %d from %.3f" % (
                    name, one[1], one[3], other[1], other[2]))
    return wrong
