"""Named crash points: tests kill the process exactly there.

Does nothing unless RLHF_FAULTS names the point; knows nothing of what it interrupts.
"""

import os
import signal
from pathlib import Path

_armed = frozenset(filter(None, os.environ.get("RLHF_FAULTS", "").split(",")))
_spent = os.environ.get(
    "RLHF_FAULTS_SPENT", ""
)  # a folder: each point fires once, and says so there


def hit(name: str) -> None:
    """Die by SIGKILL here when the environment asked for it: RLHF_FAULTS=point,point."""
    if name in _armed and _is_first_time(name):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_first_time(name: str) -> bool:
    if not _spent:
        return True
    try:
        (Path(_spent) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
