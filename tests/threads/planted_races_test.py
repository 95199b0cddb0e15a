#!/usr/bin/python3
"""Planted races must be found, and where there is none the thread sanitizer must be silent: only then
does its silence elsewhere mean anything. The same program plants them behind the doors of ZeroMQ, in
threads that czmq has started.

usage: planted_races_test.py THREADS_BUS
"""
import subprocess
import sys

from race_options import environment

# What is planted, the transport, and the function that the report has to name.
PLANTED = [("room", "inproc", "load"), ("room", "ipc", "load"),
           ("message", "inproc", "put"), ("message", "ipc", "put")]
FOUND = 66


def main():
    program, wrong = sys.argv[1], 0
    for plant, transport, function in [("none", "inproc", None)] + PLANTED:
        done = subprocess.run([program, transport, plant], capture_output=True, text=True,
                              timeout=100, env=environment(program))
        report = done.stdout + done.stderr
        if function is None:
            good = done.returncode == 0 and "ThreadSanitizer" not in report
        else:
            good = (done.returncode == FOUND and "ThreadSanitizer: data race" in report
                    and " %s " % function in report)
        print("%s over %s: exit code %d, %d reports: %s"
              % (plant, transport, done.returncode, report.count("WARNING: ThreadSanitizer"),
                 "as it must be" if good else "NOT AS IT MUST BE"))
        if not good:
            wrong += 1
            print(report[:6000])
    return 1 if wrong else 0


sys.exit(main())
