"""Say of releases that something inside was taken out since.

Knows which release holds which comparison; nothing of how one is cut.
"""

from django.db.models import QuerySet
from django.utils.timezone import now

from comparisons.models import Comparison, DatasetRelease, ReleaseComparison


def mark_releases_stale(comparisons: QuerySet[Comparison]) -> int:
    """Mark every frozen release that holds one of these; call it in the transaction that takes them out."""
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
