#!/usr/bin/python3
"""Adds up the JUnit files of several runs of ctest: says which tests took longest, and which failed or
were skipped, and why.

usage: sum_results.py FILE...   Ends with the line "N passed, N failed, N skipped"; exit 1 if any failed
or none passed, or if a file is missing (its run did not happen).
"""
import os
import sys
import xml.etree.ElementTree as xml

LONGEST = 15


def reason(case):
    """The last line a skipped test printed, or ctest's own words."""
    out = case.findtext("system-out") or ""
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    skipped = case.find("skipped")
    return lines[-1] if lines else skipped.get("message", "") if skipped is not None else ""


def print_longest(times):
    if len(times) < LONGEST:
        return
    print("The longest:")
    for seconds, name in sorted(times, reverse=True)[:LONGEST]:
        print("%7.1f s  %s" % (seconds, name))


def main():
    passed, failed, skipped, times = [], [], [], []
    for path in sys.argv[1:]:
        label = os.path.basename(os.path.dirname(path))
        if not os.path.exists(path):
            failed.append((label, "the run left no results"))
            continue
        for case in xml.parse(path).getroot().iter("testcase"):
            name = f"{label}: {case.get('name')}"
            times.append((float(case.get("time") or 0), name))
            if case.find("skipped") is not None:
                skipped.append((name, reason(case)))
            elif case.find("failure") is not None or case.get("status") == "fail":
                failed.append((name, ""))
            else:
                passed.append((name, ""))
    print_longest(times)
    for word, rows in (("skipped", skipped), ("failed", failed)):
        for name, why in rows:
            print(f"{word}: {name}" + (f": {why}" if why else ""))
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
