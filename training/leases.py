"""Who may work on a run: conditional updates on the row, fenced by the attempt number.

Knows rows and the database's clock; knows nothing of processes or files. A Celery message is only a doorbell:
losing, doubling or forging one changes nothing here.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import OperationalError, connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from training.models import TrainingRun

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
State = TrainingRun.State


def claim(run_id: int, *, owner: str) -> TrainingRun | None:
    """Take a waiting run, or one whose lease is over. None when another worker was first."""
    taken = TrainingRun.objects.filter(_is_free(), pk=run_id, attempt__lt=F("max_attempts")).update(
        state=State.RUNNING,
        attempt=F("attempt") + 1,
        lease_owner=owner,
        lease_until=Now() + LEASE,
        heartbeat_at=Now(),
        reason="",
    )
    if not taken:
        return None
    TrainingRun.objects.filter(pk=run_id, started_at__isnull=True).update(started_at=Now())
    return TrainingRun.objects.get(pk=run_id)


def extend(run: TrainingRun, *, progress: dict[str, Any]) -> bool:
    """Keep the lease and show progress. False when the run was taken over: stop at once."""
    return _ours(run).update(lease_until=Now() + LEASE, heartbeat_at=Now(), progress=progress) == 1


@contextmanager
def kept(run: TrainingRun) -> Iterator[bool]:
    """Hold the lease from a second thread while this one is busy; False when the run is not ours any more."""
    if not _beat(run):
        yield False
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_keep, args=(run, is_over), daemon=True)
    thread.start()
    try:
        yield True
    finally:
        is_over.set()
        thread.join()


def give_back(
    run: TrainingRun, *, reason: str, counts: bool, wait: timedelta | None = None
) -> bool:
    """Let another worker go on, after a while if that is given. An interruption does not count as a try; a crash does."""
    changes: dict[str, Any] = {
        "state": State.QUEUED,
        "lease_owner": "",
        "lease_until": Now() + wait if wait else None,
        "reason": reason,
    }
    if not counts:
        changes["max_attempts"] = F("max_attempts") + 1
    return _ours(run).update(**changes) == 1


def end(run: TrainingRun, *, state: str, reason: str = "", **changes: Any) -> bool:
    """Write the run's end. False when a newer attempt has it: this one's outcome does not count."""
    ended = {
        "state": state,
        "reason": reason,
        "lease_owner": "",
        "lease_until": None,
        "finished_at": Now(),
    }
    return _ours(run).update(**ended, **changes) == 1


def waiting() -> list[int]:
    """Runs that someone should be told about again: queued, or running with the lease over."""
    return list(
        TrainingRun.objects.filter(_is_free(), attempt__lt=F("max_attempts"))
        .order_by("pk")
        .values_list("pk", flat=True)
    )


def fail_worn_out() -> int:
    """Fail the runs that no attempt is left for: a run that kills its worker must not spin for ever."""
    worn_out = TrainingRun.objects.filter(_is_free(), attempt__gte=F("max_attempts"))
    return worn_out.update(
        state=State.FAILED,
        reason="Every attempt ended without a result; the log says how. Start a new run when that is mended.",
        lease_owner="",
        lease_until=None,
        finished_at=Now(),
    )


def _is_free() -> Q:
    """Waiting, and not for a later time, or left by its worker."""
    is_over = Q(lease_until__lt=Now())
    waits = Q(state=State.QUEUED) & (Q(lease_until__isnull=True) | is_over)
    return waits | (Q(state=State.RUNNING) & is_over)


def _beat(run: TrainingRun) -> bool:
    return _ours(run).update(lease_until=Now() + LEASE, heartbeat_at=Now()) == 1


def _keep(run: TrainingRun, is_over: threading.Event) -> None:
    try:
        while not is_over.wait(LEASE.total_seconds() / 4):
            try:
                _beat(run)
            except OperationalError as away:
                logger.warning("run %s: the lease could not be extended (%s)", run.pk, away)
    finally:
        connection.close()


def _ours(run: TrainingRun) -> QuerySet[TrainingRun]:
    return TrainingRun.objects.filter(pk=run.pk, attempt=run.attempt, state=State.RUNNING)
