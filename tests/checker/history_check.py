#!/usr/bin/python3
"""Judges a recorded history of lock operations.

    history_check.py FILE [--drift-ms 50] [--rate-error 0.01] [--max 20] [--json]

Exit code 0: no violation. 1: violations, each with the lines that prove it. 2: the file cannot be
read as a history, so nothing is known.

As a module: check(history) takes a list of objects (or a loaded History) and returns a list of
Violation; every check runs in O(n log n).
"""

import argparse
import gc
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from history_beliefs import check_lost_grants, check_mutual_exclusion
from history_holds import Book
from history_honesty import check_honesty
from history_model import History, HistoryError, Settings, from_dicts, load
from history_tokens import check_request_ids, check_tokens
from history_walk import check_walk
from history_witness import check_witness

PER_NAME = (check_mutual_exclusion, check_tokens, check_walk, check_lost_grants, check_honesty)
WHOLE = (check_witness, check_request_ids)
CHECKS = ("mutual_exclusion", "tokens", "walk", "lost_grant", "witness", "honesty", "request_id")


def check(history, drift_ms=50, rate_error=0.01):
    """All violations of a history, in the order of CHECKS, then of the lines.

    history  a History, or an iterable of objects as they stand in the file
    Raises HistoryError when an object cannot be understood.
    """
    if not isinstance(history, History):
        history = from_dicts(history)
    settings = Settings(drift_ms, rate_error)
    found = []
    for name, ops in history.by_name().items():
        book = Book(name, ops)
        for one in PER_NAME:
            found += one(book, settings)
    for one in WHOLE:
        found += one(history.ops)
    found.sort(key=lambda violation: (CHECKS.index(violation.check), violation.lines))
    return found


def _summary(history, found):
    counts = {name: 0 for name in CHECKS}
    for violation in found:
        counts[violation.check] += 1
    return {"operations": len(history.ops), "events": len(history.events),
            "ok": history.count("ok"), "fail": history.count("fail"),
            "info": history.count("info"), "violations": len(found), "by_check": counts}


def _print_text(summary, found, limit):
    for violation in found[:limit]:
        print("%s (%s) on %s: %s" % (violation.check, violation.kind, violation.name,
                                     violation.message))
        for op in violation.ops:
            print("    line %d: %s" % (op.line, json.dumps(op.raw, sort_keys=True)))
    if len(found) > limit:
        print("... and %d more" % (len(found) - limit))
    print("%(operations)d operations (%(ok)d ok, %(fail)d fail, %(info)d unknown), "
          "%(events)d events: " % summary
          + ", ".join("%s %d" % row for row in summary["by_check"].items()))
    print("CLEAN" if not found else "%d VIOLATIONS" % len(found))


def _arguments(argv):
    parser = argparse.ArgumentParser(description="Judges a recorded history of lock operations.")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--drift-ms", type=float, default=50, metavar="MS",
                        help="what clients take off their own deadline (default 50)")
    parser.add_argument("--rate-error", type=float, default=0.01, metavar="R",
                        help="largest relative error of a clock's rate (default 0.01)")
    parser.add_argument("--max", type=int, default=20, metavar="N",
                        help="violations to print in full (default 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(argv)


def main(argv=None):
    options = _arguments(argv)
    gc.disable()  # one short run over many small objects without cycles
    try:
        history = load(options.file)
        found = check(history, options.drift_ms, options.rate_error)
    except HistoryError as error:
        print("history_check: %s" % error, file=sys.stderr)
        return 2
    summary = _summary(history, found)
    if options.json:
        summary["found"] = [violation.to_dict() for violation in found]
        print(json.dumps(summary, sort_keys=True))
    else:
        _print_text(summary, found, options.max)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
