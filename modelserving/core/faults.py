"""Named crash points: tests kill the process exactly there.

Does nothing unless RLHF_FAULTS names the point; knows nothing of what it interrupts.
"""

import os
import signal

_armed = frozenset(filter(None, os.environ.get("RLHF_FAULTS", "").split(",")))


def hit(name: str) -> None:
    """Die by SIGKILL here when the environment asked for it: RLHF_FAULTS=point,point."""
    if name in _armed:
        os.kill(os.getpid(), signal.SIGKILL)
