"""How many processes serve pages, and that none of them outlives the one that started it.

Knows cores and one system call; knows nothing of what is served.
"""

import multiprocessing
import os

from labelapp.supervisor.deathsignal import die_with

MOST_BY_ITSELF = 4


def web_processes(cores: int | None = None) -> int:
    """One for each core, up to four: a Python process computes on one core at a time."""
    return max(1, min(MOST_BY_ITSELF, cores or _own_cores()))


def _own_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent() -> None:
    """For a worker that uvicorn started: it must not go on listening when uvicorn was killed."""
    starter = multiprocessing.parent_process()
    if starter is not None and starter.pid is not None:
        die_with(starter.pid)
