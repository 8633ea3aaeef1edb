"""Say of releases that something inside was taken out since.

Knows which release holds which comparison; nothing of how one is cut.
"""

from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import now

from comparisons.models import Comparison, DatasetRelease, ReleaseComparison

TAKEN_OUT = (Comparison.SetAside.FLAG, Comparison.SetAside.WITHDRAWN)
CLOCKS_APART = timedelta(minutes=5)  # of two hosts, at most


def holds_what_left(release: DatasetRelease) -> bool:
    """Whether a comparison inside was withdrawn, or left out for a flag, after the cut read it."""
    inside = ReleaseComparison.objects.filter(release=release)
    return inside.filter(comparison__set_aside_cause__in=TAKEN_OUT).exists()


def mark_releases_stale(comparisons: QuerySet[Comparison]) -> int:
    """Mark every frozen release that holds one of these; call it in the transaction that takes them out."""
    transaction.on_commit(partial(_mark_frozen_since, now() - CLOCKS_APART), robust=True)
    # A cut that is about to freeze waits for this transaction, and looks for itself what left.
    list(
        DatasetRelease.objects.select_for_update()
        .filter(state=DatasetRelease.State.CUTTING)
        .values_list("pk", flat=True)
    )
    inside = ReleaseComparison.objects.filter(comparison__in=comparisons.order_by().values("pk"))
    holding = DatasetRelease.objects.filter(
        state=DatasetRelease.State.FROZEN, stale_at__isnull=True, pk__in=inside.values("release")
    )
    return holding.update(stale_at=now())


def _mark_frozen_since(began: datetime) -> None:
    """What was cut and frozen as a whole while a transaction took comparisons out, and saw nothing of it."""
    frozen = DatasetRelease.objects.filter(
        state=DatasetRelease.State.FROZEN, stale_at__isnull=True, frozen_at__gte=began
    )
    for release in frozen:
        if holds_what_left(release):
            frozen.filter(pk=release.pk).update(stale_at=now())
