"""Become the trainer: die with the worker that started this process, give way to people, then exec.

Knows process settings only. `python -m training.child RUN_DIR`; by hand use `python -m training.core RUN_DIR`.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NICENESS = 10  # people at work get the processor first


def main(arguments: list[str]) -> None:
    """Replace this process by the trainer. The parent's pid comes first, then the run directory."""
    parent, run_directory = int(arguments[0]), arguments[1]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the worker died before the line above
        sys.exit(1)
    os.nice(NICENESS)
    os.execv(sys.executable, [sys.executable, "-m", "training.core", run_directory])  # noqa: S606 -- no shell


if __name__ == "__main__":
    main(sys.argv[1:])
