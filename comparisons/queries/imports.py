"""What was imported, by source.

Reads only.
"""

from django.db.models import Count, Max, QuerySet

from comparisons.models import Comparison


def import_sources() -> QuerySet[Comparison, dict[str, object]]:
    """Each source with its objective, tranche, count and last day."""
    imported = Comparison.objects.filter(import_key__isnull=False).order_by()
    return (
        imported.values("import_source", "objective", "tranche", "origin")
        .annotate(count=Count("pk"), last=Max("created_at"))
        .order_by("-last", "import_source")
    )
