"""Ask the kernel to end a child when its parent ends, however that happens (Linux).

Knows one system call; elsewhere it does nothing.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """For the child, between fork and exec."""
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:  # the parent was gone before we asked
        os._exit(1)


def die_with(parent: int) -> None:
    """For a process that did not ask between fork and exec, and knows who started it."""
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Grandchildren whose parent dies become ours, so that none is left behind."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def own_children() -> list[int]:
    """Process ids of all direct children, adopted ones too."""
    if _libc is None:
        return []
    children: list[int] = []
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208 -- names are all we want
        try:
            with open(f"/proc/self/task/{task}/children") as stream:  # noqa: PTH123 -- procfs
                children += map(int, stream.read().split())
        except OSError:  # that thread ended meanwhile
            continue
    return children
