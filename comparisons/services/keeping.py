"""Keep the leases of the turns that this process fills, and notice when one is to stop.

One thread for all of them, alive only while there are any; knows nothing of text.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import DatabaseError, connection

from comparisons.models import Turn
from comparisons.services import turn_leases
from comparisons.services.turn_leases import Lease

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.4  # how long a stop may go unnoticed
RENEW_SECONDS = 5.0


@dataclass(eq=False)
class Keep:
    """A lease that is being kept."""

    lease: Lease
    stop: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)

    def is_stopped(self) -> bool:
        """Whether the person asked to stop, or the turn is not ours any more."""
        return self.stop.is_set() or self.lost.is_set()


_lock = threading.Lock()
_kept: set[Keep] = set()
_thread: threading.Thread | None = None


@contextmanager
def kept(lease: Lease) -> Iterator[Keep]:
    """Keep the lease while the block runs."""
    keep = Keep(lease)
    with _lock:
        _kept.add(keep)
        _ensure_thread()
    try:
        yield keep
    finally:
        with _lock:
            _kept.discard(keep)


def _ensure_thread() -> None:
    global _thread  # noqa: PLW0603 -- one thread per process
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_run, name="turn leases", daemon=True)
        _thread.start()


def _run() -> None:
    global _thread  # noqa: PLW0603 -- one thread per process
    renewed = time.monotonic()
    while True:
        time.sleep(LOOK_SECONDS)
        with _lock:
            present = list(_kept)
            if not present:
                _thread = None
                break
        try:
            _look(present)
            if time.monotonic() - renewed >= RENEW_SECONDS:
                turn_leases.renew([keep.lease for keep in present if not keep.lost.is_set()])
                renewed = time.monotonic()
        except DatabaseError:
            logger.exception("the leases of %d turns could not be looked after", len(present))
            connection.close()
    connection.close()


def _look(present: list[Keep]) -> None:
    rows = turn_leases.looked_at([keep.lease for keep in present])
    for keep in present:
        row = rows.get(keep.lease.turn_id)
        is_ours = row is not None and row.attempt == keep.lease.attempt
        if row is None or not is_ours or row.state == Turn.State.SKIPPED:
            keep.lost.set()
        elif row.is_stop_requested:
            keep.stop.set()
