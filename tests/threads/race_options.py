#!/usr/bin/python3
"""The options of the thread sanitizer for a program of ours, and a program that is run with them.

Of the libraries that are not instrumented everything is left out that they do by themselves; what our
own code does by way of the C library (memcpy, strlen, write) is looked at. ignore_noninstrumented_modules
would be shorter, but on Linux it takes every module for one of those, and is blind to all such calls.

usage: race_options.py PROGRAM [ARGS...]
"""
import os
import re
import subprocess
import sys
import tempfile

OWN = re.compile(r"libtsan|linux-vdso|ld-linux|libc\.so|libm\.so|libgcc_s")


def libraries(program):
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in listed.splitlines() if "=>" in line]
    return [name for name in names if not OWN.search(name)]


def environment(program):
    """Our environment with TSAN_OPTIONS; the file that they name stays until this process ends."""
    file = tempfile.NamedTemporaryFile("w", prefix="lm-races-", delete=False)
    with file:
        # czmq takes its mutex inside and gives it back in a call of ours, or so it looks from here.
        file.write("mutex:libczmq\nmutex:set_up_process\n")
        file.writelines("called_from_lib:%s\n" % name for name in libraries(program))
    import atexit
    atexit.register(os.unlink, file.name)
    return {**os.environ, "TSAN_OPTIONS": "history_size=4:suppressions=" + file.name}


if __name__ == "__main__":
    sys.exit(subprocess.run(sys.argv[1:], env=environment(sys.argv[1])).returncode)
