#!/usr/bin/python3
"""Runs the rows of mutants.txt or settings.txt and says for each whether it came out as expected.

Prints one line per row; below a row that deviates stands the schedule of its violation, if any.
Exits with 0 only if every row came out as expected.
"""
import argparse
import concurrent.futures
import os
import subprocess
import sys
import time

CLEAN, VIOLATION, BOUND = 0, 1, 4


def read_rows(path):
    """Yields [name, expectation, words]. Words stand on the indented lines below the name."""
    row = None
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if not line.strip() or line.startswith("#"):
                continue
            if line[0].isspace():
                row[2] += line.split()
                continue
            if row:
                yield row
            name, _, expectation = line.partition("|")
            row = [name.strip(), expectation.strip() or "clean", []]
    if row:
        yield row


def run_row(row, options):
    """Returns (as expected?, the lines to print)."""
    name, expected, words = row
    command = [options.model, *words, f"max_states={options.max_states}"]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return False, [f"{name}: NO RESULT within {options.timeout} s"]
    took = time.monotonic() - began
    story = done.stdout.splitlines()
    verdict = story[-1] if story else done.stderr.strip()
    wanted = [VIOLATION] if expected == "caught" else [CLEAN, BOUND]
    good = done.returncode in wanted
    note = "" if expected in ("caught", "clean") else f", {expected} as expected"
    if good:
        return True, [f"{name}: {verdict}{note} [{took:.1f} s]"]
    return False, [f"{name}: DEVIATES, expected {expected}: {verdict}",
                   f"    words: {' '.join(words)}", *story[:-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the executable waiting_model")
    parser.add_argument("--max-states", type=int, default=8000000, help="bound of each row")
    parser.add_argument("--jobs", type=int, default=1, help="rows run at the same time")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one row")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("rows", help="mutants.txt or settings.txt")
    options = parser.parse_args()
    if not os.access(options.model, os.X_OK):
        parser.error(f"{options.model} cannot be executed")

    rows = [row for row in read_rows(options.rows) if options.only in row[0]]
    deviations = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for good, lines in pool.map(lambda row: run_row(row, options), rows):
            deviations += not good
            print("\n".join(lines), flush=True)
    print(f"{len(rows)} rows, {deviations} deviate")
    return 1 if deviations or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
