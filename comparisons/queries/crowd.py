"""The people who label, as staff see them: pseudonyms, counts, decisions; never a name or an e-mail.

Reads only.
"""

from django.db.models import Count, DateTimeField, Max, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils.timezone import now

from comparisons.models import AuditEntry, Crowdworker, Invitation
from comparisons.queries.pages import NEVER


def people(*, search: str = "", standing: str = "") -> QuerySet[Crowdworker]:
    """Everyone matching; `at` is when they last chose, for paging: those who never did come last."""
    found = (
        Crowdworker.objects.filter(pseudonym__icontains=search)
        if search
        else (Crowdworker.objects.all())
    )
    if standing in Crowdworker.Standing.values:
        found = found.filter(standing=standing)
    counted = Q(comparisons__superseded_at__isnull=True)
    return found.annotate(
        choices=Count("comparisons", filter=counted),
        unsure=Count("comparisons", filter=counted & Q(comparisons__strength=1)),
        last_choice=Max("comparisons__created_at"),
        at=Coalesce("last_choice", Value(NEVER, output_field=DateTimeField())),
    ).order_by("-at", "-pk")


def open_invitations() -> QuerySet[Invitation]:
    """Invitations that still let somebody in."""
    valid = Q(expires_at__isnull=True) | Q(expires_at__gt=now())
    return Invitation.objects.filter(valid, uses_left__gt=0).order_by("-pk")


def person_history(crowdworker: Crowdworker) -> QuerySet[AuditEntry]:
    """What staff decided about a person, newest first."""
    return (
        AuditEntry.objects.filter(object_type="crowdworker", object_id=str(crowdworker.public_id))
        .select_related("actor")
        .order_by("-pk")
    )
