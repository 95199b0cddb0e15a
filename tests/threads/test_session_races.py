"""The C library's sessions under the thread sanitizer: many threads, lost answers, late copies. What it
reports stands in the errors of session_holder, and Holder fails when it finds one there."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))
import holder  # noqa: E402
from cluster_case import main  # noqa: E402
from race_options import environment  # noqa: E402
from test_session_library import CallersLoop, OwnThread  # noqa: E402, F401

os.environ.update(environment(holder.PROGRAM))

if __name__ == "__main__":
    main()
