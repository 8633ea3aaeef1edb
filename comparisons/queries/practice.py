"""Which campaigns' practice comparisons stand between a person and the work.

Reads only; the practice itself is `services.qualifying`'s.
"""

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from comparisons.models import (
    Assignment,
    Campaign,
    Crowdworker,
    Qualification,
    QualificationResult,
)


def is_at_work(crowdworker: Crowdworker, campaign: Campaign) -> bool:
    """The person has begun an assignment of the campaign and not handed it in."""
    return crowdworker.assignments.filter(campaign=campaign, state=Assignment.State.WORK).exists()


def needs_no_practice(*, crowdworker: int) -> Q:
    """The condition on campaigns: no practice asked for, passed in any version, or work begun before it."""
    asked = Qualification.objects.filter(campaign=OuterRef("pk"), retired_at__isnull=True)
    at_work = Assignment.objects.filter(
        campaign=OuterRef("pk"), crowdworker=crowdworker, state=Assignment.State.WORK
    )
    passed = _passed(crowdworker=crowdworker, campaign="pk")
    return Q(~Exists(asked)) | Q(Exists(passed)) | Q(Exists(at_work))


def closed_campaigns(crowdworker: Crowdworker) -> set[int]:
    """Campaigns whose practice the person has no try left of."""
    finished = Q(attempts_made__crowdworker=crowdworker, attempts_made__result__isnull=False)
    tried = Qualification.objects.filter(retired_at__isnull=True).annotate(
        tries=Count("attempts_made", filter=finished)
    )
    used_up = tried.filter(tries__gte=F("attempts")).exclude(
        Exists(_passed(crowdworker=crowdworker.pk, campaign="campaign"))
    )
    return set(used_up.values_list("campaign_id", flat=True))


def _passed(*, crowdworker: int, campaign: str) -> QuerySet[QualificationResult]:
    """What the person passed of the outer row's campaign, in any version."""
    return QualificationResult.objects.filter(
        attempt__qualification__campaign=OuterRef(campaign),
        attempt__crowdworker=crowdworker,
        is_passed=True,
    )
