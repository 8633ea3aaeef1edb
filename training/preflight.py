"""What stands ready for a new run, and what does not, before anything is started.

Reads only; the services refuse what cannot run, this says it beforehand.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from comparisons.models import DatasetRelease
from training import queries
from training.models import TrainingRun
from training.services import NEEDS_RANKER, NEEDS_RELEASE

LEAST_FREE = 2 * 1024**3  # bytes; the trainer asks for what it needs exactly


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line beside the form."""

    is_met: bool
    words: str


def checks(kind: str) -> list[Check]:
    """The lines for a run of this kind, most important first."""
    found = []
    if kind in NEEDS_RELEASE:
        found.append(_release())
    if kind in NEEDS_RANKER:
        count = queries.preference_models().count()
        words = (
            f"preference models: {count}" if count else "No preference model yet: train one first."
        )
        found.append(Check(is_met=count > 0, words=words))
    return [*found, _disk(), _queue()]


def _release() -> Check:
    release = (
        DatasetRelease.objects.filter(state=DatasetRelease.State.FROZEN).order_by("-pk").first()
    )
    if release is None:
        return Check(is_met=False, words="No frozen release yet: cut one under Manage, Releases.")
    counts = release.counts
    words = f"newest release {release.name}: {counts.get('train', 0):,} pairs to train on, {counts.get('test', 0):,} to test on"
    return Check(is_met=True, words=words)


def _disk() -> Check:
    place = Path(settings.ARTEFACTS)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Check(is_met=free >= LEAST_FREE, words=f"disk: {free / 1024**3:,.1f} GB free")


def _queue() -> Check:
    if queries.waiting_without_worker():
        return Check(
            is_met=False,
            words="No training worker takes the runs that wait. Start one with ./start.",
        )
    before = TrainingRun.objects.filter(
        state__in=(TrainingRun.State.QUEUED, TrainingRun.State.RUNNING)
    ).count()
    words = f"queue: {before} before this one" if before else "queue: empty, it begins at once"
    return Check(is_met=True, words=words)
