"""Second opinions: a queue of showings that people take with a lease, blind to the first choice.

Knows showings and turns; the choice itself is recorded by `judging`.
"""

import hashlib
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from comparisons.models import (
    Campaign,
    Comparison,
    Crowdworker,
    InstructionVersion,
    Showing,
    Turn,
)
from comparisons.models.campaign import Objective
from comparisons.queries.transcripts import HEAVY
from comparisons.services import wellbeing
from comparisons.services.drawing import current_instructions, is_coin_heads, is_covered

LEASE = timedelta(minutes=15)
_JUDGED = Comparison.objects.filter(showing=OuterRef("pk"), superseded_at__isnull=True)
LOOKED_AT = 40  # waiting showings considered at once, so that many people do not all want the first


def offer(turn: Turn, *, percent: int) -> Showing | None:
    """Put a chosen turn into the queue when its number falls within the campaign's share."""
    has_one = turn.showings.filter(purpose=Showing.Purpose.SECOND_OPINION).exists()
    comparison = turn.continued_by
    if has_one or comparison is None or _ticket(turn) >= percent:
        return None
    return _queued(turn, comparison.picked_id, comparison.other_id)


def _ticket(turn: Turn) -> int:
    """A fixed number from 0 to 99 for each turn: the same turns, however often this is asked."""
    return int(hashlib.sha256(turn.public_id.bytes).hexdigest()[:8], 16) % 100


def _queued(turn: Turn, first: int, second: int) -> Showing:
    """A showing that nobody holds yet, its sides drawn anew."""
    if is_coin_heads():
        first, second = second, first
    return Showing.objects.create(
        turn=turn,
        purpose=Showing.Purpose.SECOND_OPINION,
        side_a_id=first,
        side_b_id=second,
    )


def take(crowdworker: Crowdworker, *, layout: str = "", theme: str = "") -> Showing | None:
    """The person's standing item, or the next one nobody holds. None when nothing waits."""
    standing = _of_person(crowdworker).first()
    if standing:
        return standing if _renewed(standing) else None
    waiting = list(_waiting_for(crowdworker).values_list("pk", flat=True)[:LOOKED_AT])
    start = crowdworker.pk % len(waiting) if waiting else 0
    for pk in waiting[start:] + waiting[:start]:
        if showing := _claimed(pk, crowdworker, layout=layout, theme=theme):
            return showing
    return None


def _of_person(crowdworker: Crowdworker) -> QuerySet[Showing]:
    mine = Showing.objects.filter(
        crowdworker=crowdworker,
        purpose=Showing.Purpose.SECOND_OPINION,
        replaced_at__isnull=True,
        lease_until__gt=timezone.now(),
        turn__conversation__is_withdrawn=False,
        turn__conversation__campaign__in=_open_campaigns(crowdworker),
    )
    return loaded(mine).filter(~Exists(_JUDGED))


def loaded(showings: QuerySet[Showing]) -> QuerySet[Showing]:
    """With everything the page and the judging need."""
    return showings.select_related(
        "turn__conversation__campaign", "side_a", "side_b", "crowdworker"
    ).defer(*HEAVY)


def _waiting_for(crowdworker: Crowdworker) -> QuerySet[Showing]:
    seen = Showing.objects.filter(turn=OuterRef("turn"), crowdworker=crowdworker)
    waiting = Showing.objects.filter(
        purpose=Showing.Purpose.SECOND_OPINION,
        crowdworker__isnull=True,
        replaced_at__isnull=True,
        turn__conversation__is_withdrawn=False,
        turn__conversation__campaign__in=_open_campaigns(
            crowdworker, shown_today=wellbeing.shown_today(crowdworker)
        ),
    ).exclude(turn__conversation__crowdworker=crowdworker)
    return waiting.filter(~Exists(seen)).order_by("pk")


def _open_campaigns(crowdworker: Crowdworker, *, shown_today: int | None = None) -> list[int]:
    """Live campaigns for the person's pool whose current wording they accepted.

    With `shown_today`, the red-team responses read today, only those whose daily cap takes two more.
    """
    if crowdworker.standing != Crowdworker.Standing.ACTIVE:
        return []
    latest = InstructionVersion.objects.filter(campaign=OuterRef("pk")).order_by("-version")
    agreed = crowdworker.consents.values("instruction_version")
    campaigns = Campaign.objects.filter(
        state=Campaign.State.LIVE, pool__in=("", crowdworker.pool)
    ).annotate(latest=Subquery(latest.values("pk")[:1]))
    if not crowdworker.is_red_team_opted_in:
        campaigns = campaigns.exclude(objective=Objective.HARMLESS)
    if shown_today is not None:
        campaigns = campaigns.exclude(
            objective=Objective.HARMLESS, red_team_daily_cap__lt=shown_today + 2
        )
    wanted = campaigns.filter(Q(latest__isnull=True) | Q(latest__in=agreed))
    return list(wanted.values_list("pk", flat=True))


def _claimed(pk: int, crowdworker: Crowdworker, *, layout: str, theme: str) -> Showing | None:
    showing = loaded(Showing.objects.filter(pk=pk)).get()
    campaign = showing.turn.conversation.campaign
    free = Showing.objects.filter(pk=pk, crowdworker__isnull=True, replaced_at__isnull=True)
    try:
        with transaction.atomic():
            person = Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
            if not _waiting_for(person).filter(pk=pk).exists():
                return None
            taken = free.update(
                crowdworker=crowdworker,
                lease_until=timezone.now() + LEASE,
                instruction_version=current_instructions(campaign),
                layout=layout,
                theme=theme,
                is_covered=is_covered(crowdworker, campaign),
            )
    except IntegrityError:  # the person has a standing showing of this turn
        return None
    return loaded(Showing.objects.filter(pk=pk)).get() if taken == 1 else None


def _renewed(showing: Showing) -> bool:
    """Prolong the lease; False where it ran out just now and went back into the queue."""
    held = Showing.objects.filter(pk=showing.pk, replaced_at__isnull=True)
    return held.update(lease_until=timezone.now() + LEASE) == 1


def waiting_count(crowdworker: Crowdworker) -> int:
    """How many items the person could take now; counted up to one hundred."""
    return len(_waiting_for(crowdworker).values_list("pk", flat=True)[:100])


def release_overdue() -> int:
    """Put items whose lease ran out without a choice back into the queue; the number of them."""
    overdue = Showing.objects.filter(
        ~Exists(_JUDGED),
        purpose=Showing.Purpose.SECOND_OPINION,
        lease_until__lt=Now(),
        replaced_at__isnull=True,
    )
    released = 0
    for showing in overdue.select_related("turn"):
        with transaction.atomic():
            Showing.objects.select_for_update().get(pk=showing.pk)  # a choice may be on its way
            if overdue.filter(pk=showing.pk).update(replaced_at=timezone.now()) == 1:
                _queued(showing.turn, showing.side_a_id, showing.side_b_id)
                released += 1
    return released
