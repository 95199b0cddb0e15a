#!/usr/bin/python3
"""A leak, an undefined behaviour and an overflow that are planted in tests must make those tests fail,
under the same options as all others (the environment that CTest gives to this one too).

usage: planted_faults_test.py PLANTED_FAULTS
"""
import subprocess
import sys

PLANTED = [("nothing", None), ("leak", "LeakSanitizer: detected memory leaks"),
           ("undefined", "signed integer overflow"), ("overflow", "heap-buffer-overflow")]


def main():
    wrong = 0
    for name, report in PLANTED:
        done = subprocess.run([sys.argv[1], "--jobs", "2", "--filter", "planted/" + name],
                              capture_output=True, text=True, errors="replace", timeout=60)
        text = done.stdout + done.stderr
        good = done.returncode == 0 if report is None else done.returncode != 0 and report in text
        print("%s: exit code %d: %s" % (name, done.returncode,
                                        "as it must be" if good else "NOT AS IT MUST BE"))
        if not good:
            wrong += 1
            print(text[:4000])
    return 1 if wrong else 0


sys.exit(main())
