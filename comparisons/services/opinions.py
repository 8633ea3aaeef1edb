"""Second opinions: a queue of showings that people take with a lease, blind to the first choice.

Knows showings and turns; the choice itself is recorded by `judging`.
"""

import hashlib
import secrets
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
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
from comparisons.services.drawing import is_coin_heads

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


@dataclass(frozen=True, kw_only=True)
class _OpenCampaign:
    """A campaign whose items the person may read, with the wording in force."""

    pk: int
    is_red_team: bool
    instructions: int | None


def take(crowdworker: Crowdworker, *, layout: str = "", theme: str = "") -> Showing | None:
    """The person's standing item, or the next one nobody holds. None when nothing waits."""
    every, uncapped = _open_campaigns(crowdworker)
    standing = _of_person(crowdworker, every).values_list("pk", flat=True).first()
    if standing:
        return _read(standing) if _renewed(standing) else None
    open_ones = {each.pk: each for each in uncapped}
    columns = ("pk", "turn__conversation__campaign_id")
    waiting = list(_waiting_for(crowdworker, open_ones).values_list(*columns)[:LOOKED_AT])
    start = secrets.randbelow(len(waiting)) if waiting else 0
    for pk, campaign in waiting[start:] + waiting[:start]:
        if _claimed(pk, open_ones[campaign], crowdworker, layout=layout, theme=theme):
            return _read(pk)
    return None


def held_by(crowdworker: Crowdworker, public_id: uuid.UUID) -> Showing | None:
    """An item that the person was given, whatever became of it since."""
    given = Showing.objects.filter(
        public_id=public_id,
        crowdworker=crowdworker,
        purpose=Showing.Purpose.SECOND_OPINION,
    )
    return loaded(given).first()


def _read(pk: int) -> Showing:
    return loaded(Showing.objects.filter(pk=pk)).get()


def _of_person(crowdworker: Crowdworker, campaigns: Sequence[_OpenCampaign]) -> QuerySet[Showing]:
    mine = Showing.objects.filter(
        crowdworker=crowdworker,
        purpose=Showing.Purpose.SECOND_OPINION,
        replaced_at__isnull=True,
        lease_until__gt=timezone.now(),
        turn__conversation__is_withdrawn=False,
        turn__conversation__campaign__in=[each.pk for each in campaigns],
    )
    return mine.filter(~Exists(_JUDGED))


def loaded(showings: QuerySet[Showing]) -> QuerySet[Showing]:
    """With everything the page and the judging need."""
    return showings.select_related(
        "turn__conversation__campaign", "side_a", "side_b", "crowdworker"
    ).defer(*HEAVY)


def _waiting_for(crowdworker: Crowdworker, campaigns: Collection[int]) -> QuerySet[Showing]:
    seen = Showing.objects.filter(turn=OuterRef("turn"), crowdworker=crowdworker)
    waiting = Showing.objects.filter(
        purpose=Showing.Purpose.SECOND_OPINION,
        crowdworker__isnull=True,
        replaced_at__isnull=True,
        turn__conversation__is_withdrawn=False,
        turn__conversation__campaign__in=campaigns,
    ).exclude(turn__conversation__crowdworker=crowdworker)
    return waiting.filter(~Exists(seen)).order_by("pk")


def _open_campaigns(
    crowdworker: Crowdworker,
) -> tuple[list[_OpenCampaign], list[_OpenCampaign]]:
    """Live campaigns for the person's pool whose current wording they accepted.

    All of them, and those among them whose daily cap takes two more red-team responses.
    """
    if crowdworker.standing != Crowdworker.Standing.ACTIVE:
        return [], []
    latest = InstructionVersion.objects.filter(campaign=OuterRef("pk")).order_by("-version")
    agreed = crowdworker.consents.values("instruction_version")
    campaigns = Campaign.objects.filter(
        state=Campaign.State.LIVE, pool__in=("", crowdworker.pool)
    ).annotate(latest=Subquery(latest.values("pk")[:1]))
    if not crowdworker.is_red_team_opted_in:
        campaigns = campaigns.exclude(objective=Objective.HARMLESS)
    wanted = campaigns.filter(Q(latest__isnull=True) | Q(latest__in=agreed))
    rows = list(wanted.values_list("pk", "objective", "latest", "red_team_daily_cap"))
    has_red_team = any(objective == Objective.HARMLESS for _, objective, _, _ in rows)
    shown = wellbeing.shown_today(crowdworker) if has_red_team else 0
    every, uncapped = [], []
    for pk, objective, instructions, cap in rows:
        is_red_team = objective == Objective.HARMLESS
        each = _OpenCampaign(pk=pk, is_red_team=is_red_team, instructions=instructions)
        every.append(each)
        if not is_red_team or shown + 2 <= cap:
            uncapped.append(each)
    return every, uncapped


def _claimed(
    pk: int, campaign: _OpenCampaign, crowdworker: Crowdworker, *, layout: str, theme: str
) -> bool:
    """Take the item unless somebody was first; the condition decides, without a look before."""
    free = Showing.objects.filter(pk=pk, crowdworker__isnull=True, replaced_at__isnull=True)
    try:
        with transaction.atomic():
            if campaign.is_red_team and not _is_still_under_cap(crowdworker, campaign):
                return False
            taken = free.update(
                crowdworker=crowdworker,
                lease_until=timezone.now() + LEASE,
                instruction_version=campaign.instructions,
                layout=layout,
                theme=theme,
                is_covered=campaign.is_red_team and crowdworker.cover_responses != "never",
            )
    except IntegrityError:  # the person has a standing showing of this turn
        return False
    return taken == 1


def _is_still_under_cap(crowdworker: Crowdworker, campaign: _OpenCampaign) -> bool:
    """Looked at again with the person's row held, so that two tabs do not pass the cap together."""
    person = Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
    _, uncapped = _open_campaigns(person)
    return campaign in uncapped


def _renewed(pk: int) -> bool:
    """Prolong the lease; False where it ran out just now and went back into the queue."""
    held = Showing.objects.filter(pk=pk, replaced_at__isnull=True)
    return held.update(lease_until=timezone.now() + LEASE) == 1


def waiting_count(crowdworker: Crowdworker) -> int:
    """How many items the person could take now; counted up to one hundred."""
    _, uncapped = _open_campaigns(crowdworker)
    waiting = _waiting_for(crowdworker, [each.pk for each in uncapped])
    return len(waiting.values_list("pk", flat=True)[:100])


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
