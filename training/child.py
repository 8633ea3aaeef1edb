"""Become the trainer: alone in the run directory, dying with its worker, giving way to people; then exec.

Knows process settings only. `python -m training.child PARENT RUN_DIR`; by hand use `python -m training.core RUN_DIR`.
"""

import ctypes
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TextIO

PR_SET_PDEATHSIG = 1
NICENESS = 10  # people at work get the processor first
SESSION_NICENESS = 5  # a third of an equal share beside a busy session: a run still goes on
BUSY = (
    75  # exit code: another process of this run is in the directory and cannot be ended from here
)
PATIENCE = 10.0  # seconds for the process before this one to be gone
_held: list[TextIO] = []  # open until the exec, inherited by it


def main(arguments: list[str]) -> None:
    """Replace this process by the trainer. The parent's pid comes first, then the run directory."""
    parent, run_directory = int(arguments[0]), arguments[1]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the worker died before the line above
        sys.exit(1)
    if not _alone_in(Path(run_directory)):
        sys.exit(BUSY)
    _give_way()
    os.execv(sys.executable, [sys.executable, "-m", "training.core", run_directory])  # noqa: S606 -- no shell


def _give_way() -> None:
    """Be nice within the session and as a session.

    Where Linux groups processes by session (sched_autogroup, on by default in most distributions), the
    kernel shares the processor between sessions first: the niceness of a process that leads its own
    session says nothing to the others. The session has a niceness of its own.
    """
    os.nice(NICENESS)
    try:
        Path("/proc/self/autogroup").write_text(str(SESSION_NICENESS), encoding="ascii")
    except OSError:  # another system, or a kernel without session groups
        return


def _alone_in(run_directory: Path) -> bool:
    """Hold the directory's lock as long as this process lives, ending an earlier attempt's process first.

    A worker that hangs loses its lease while its trainer goes on writing: two trainers must never share files.
    """
    handle = (run_directory / "trainer.lock").open("a+", encoding="utf-8")
    os.set_inheritable(handle.fileno(), True)  # noqa: FBT003 -- its signature; the lock outlives the exec
    deadline = time.monotonic() + PATIENCE
    while not _is_locked(handle):
        _end_earlier(handle, run_directory)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    handle.seek(0)
    handle.truncate()
    handle.write(f"{socket.gethostname()} {os.getpid()}\n")
    handle.flush()
    _held.append(handle)
    return True


def _is_locked(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_earlier(handle: TextIO, run_directory: Path) -> None:
    """Kill the process that the lock names, if it is a trainer of this run on this machine."""
    handle.seek(0)
    host, _, pid = handle.read().strip().partition(" ")
    if host != socket.gethostname() or not pid.isdecimal():
        return
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        if str(run_directory) in command:
            os.killpg(int(pid), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return


if __name__ == "__main__":
    main(sys.argv[1:])
