"""Second opinions: a queue of showings that people take with a lease, blind to the first choice.

Knows showings and turns; the choice itself is recorded by `judging`.
"""

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from comparisons.models import Comparison, Crowdworker, Showing, Turn
from comparisons.queries import opinions as queue
from comparisons.queries.opinions import OpenCampaign
from comparisons.queries.prepared import Prepared
from comparisons.services import wellbeing
from comparisons.services.drawing import is_coin_heads

LEASE = wellbeing.OPINION_LEASE
# for rows whose `judged_at` does not say so, because older code stored the choice
IS_JUDGED = Exists(Comparison.objects.filter(showing=OuterRef("pk"), superseded_at__isnull=True))
_TAKE: Prepared[Showing] = Prepared(
    lambda *, pk: Showing.objects.filter(pk=pk, crowdworker__isnull=True, replaced_at__isnull=True),
    sets=("crowdworker", "instruction_version", "layout", "theme", "is_covered"),
    always={"lease_until": Now() + LEASE},
)


def offer(turn: Turn, *, percent: int) -> Showing | None:
    """Put a chosen turn into the queue when its number falls within the campaign's share."""
    offered = turn.showings.filter(purpose=Showing.Purpose.SECOND_OPINION)
    has_one = offered.filter(replaced_at__isnull=True).exists()
    comparison = turn.continued_by
    if has_one or comparison is None or _ticket(turn) >= percent:
        return None
    return put_up(turn, comparison.picked_id, comparison.other_id)


def take_back(turn: Turn) -> None:
    """The turn's choice was undone: its item goes out of the queue, unless somebody reads it already."""
    turn.showings.filter(
        purpose=Showing.Purpose.SECOND_OPINION, crowdworker__isnull=True, replaced_at__isnull=True
    ).update(replaced_at=timezone.now())


def _ticket(turn: Turn) -> int:
    """A fixed number from 0 to 99 for each turn: the same turns, however often this is asked."""
    return int(hashlib.sha256(turn.public_id.bytes).hexdigest()[:8], 16) % 100


def put_up(turn: Turn, first: int, second: int) -> Showing:
    """A showing of two responses that nobody holds yet, its sides drawn anew."""
    if is_coin_heads():
        first, second = second, first
    return Showing.objects.create(
        turn=turn,
        purpose=Showing.Purpose.SECOND_OPINION,
        side_a_id=first,
        side_b_id=second,
    )


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a person could read next, as it stood when it was looked at."""

    crowdworker: Crowdworker
    standing: int | None
    waiting: Sequence[tuple[int, OpenCampaign]]


def take(crowdworker: Crowdworker, *, layout: str = "", theme: str = "") -> Showing | None:
    """The person's standing item, or the next one nobody holds. None when nothing waits."""
    taken = claim(look(crowdworker), layout=layout, theme=theme)
    return queue.item(taken) if taken else None


def look(crowdworker: Crowdworker, *, besides: Showing | None = None) -> Outlook:
    """What the person holds besides an item that they are about to judge, and what waits for them."""
    every = queue.open_campaigns(crowdworker)
    keys = [each.pk for each in every]
    held = queue.standing_items(crowdworker, campaigns=keys)
    standing = next((pk for pk in held if besides is None or pk != besides.pk), None)
    if standing:
        return Outlook(crowdworker=crowdworker, standing=standing, waiting=())
    campaigns = {each.pk: each for each in under_cap(crowdworker, every)}
    waiting = queue.next_items(crowdworker, campaigns=list(campaigns))
    start = secrets.randbelow(len(waiting)) if waiting else 0
    turned = [(pk, campaigns[campaign]) for pk, campaign in waiting[start:] + waiting[:start]]
    if besides is not None:  # a red-team item locks the person, which must come before the choice
        turned = list(takewhile(lambda each: not each[1].is_red_team, turned))
    return Outlook(crowdworker=crowdworker, standing=None, waiting=turned)


def claim(outlook: Outlook, *, layout: str = "", theme: str = "") -> int | None:
    """Take one of what was seen, the standing one first; its key, None when others were faster."""
    if outlook.standing:
        return outlook.standing if _renewed(outlook.standing) else None
    for pk, campaign in outlook.waiting:
        if _claimed(pk, campaign, outlook.crowdworker, layout=layout, theme=theme):
            return pk
    return None


def under_cap(crowdworker: Crowdworker, campaigns: Sequence[OpenCampaign]) -> list[OpenCampaign]:
    """Those that take two more red-team responses: by their daily cap, and after a long stretch."""
    has_red_team = any(each.is_red_team for each in campaigns)
    shown = wellbeing.shown_today(crowdworker) if has_red_team else 0
    if shown >= wellbeing.STRETCH and wellbeing.cooling_until(crowdworker) is not None:
        return [each for each in campaigns if not each.is_red_team]
    return [each for each in campaigns if not each.is_red_team or shown + 2 <= each.daily_cap]


def _claimed(
    pk: int, campaign: OpenCampaign, crowdworker: Crowdworker, *, layout: str, theme: str
) -> bool:
    """Take the item unless somebody was first; the condition decides, without a look before."""
    try:
        with nullcontext() if connection.in_atomic_block else transaction.atomic():
            if campaign.is_red_team and not _is_still_under_cap(crowdworker, campaign):
                return False
            taken = _TAKE.update(
                pk=pk,
                crowdworker=crowdworker.pk,
                instruction_version=campaign.instructions,
                layout=layout,
                theme=theme,
                is_covered=campaign.is_red_team and crowdworker.cover_responses != "never",
            )
    except IntegrityError:  # the person has a standing showing of this turn, from another tab
        if connection.in_atomic_block and connection.vendor != "sqlite":
            raise  # PostgreSQL gave the whole transaction up; SQLite undid the one statement
        return False
    return taken == 1


def _is_still_under_cap(crowdworker: Crowdworker, campaign: OpenCampaign) -> bool:
    """Looked at again with the person's row held, so that two tabs do not pass the cap together."""
    person = Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
    return campaign in under_cap(person, queue.open_campaigns(person))


def _renewed(pk: int) -> bool:
    """Prolong the lease; False where it ran out just now and went back into the queue."""
    held = Showing.objects.filter(pk=pk, replaced_at__isnull=True)
    if held.filter(lease_until__gt=Now() + LEASE / 2).exists():
        return True  # a page loaded again writes nothing
    return held.update(lease_until=Now() + LEASE) == 1


def pass_on(showing: Showing) -> bool:
    """Give an item back without a choice; it waits for somebody else. False where it was over."""
    with transaction.atomic():
        Showing.objects.select_for_update().get(pk=showing.pk)  # a choice may be on its way
        mine = Showing.objects.filter(
            ~IS_JUDGED, pk=showing.pk, replaced_at__isnull=True, judged_at__isnull=True
        )
        if mine.update(replaced_at=timezone.now()) != 1:
            return False
        _put_back(showing)
    return True


def waiting_count(crowdworker: Crowdworker) -> int:
    """How many items the person could take now; counted up to one hundred."""
    campaigns = [each.pk for each in under_cap(crowdworker, queue.open_campaigns(crowdworker))]
    waiting = queue.waiting_for(
        crowdworker=crowdworker.pk, campaigns=campaigns, limits=queue.limits_of(crowdworker)
    )
    return len(waiting.values_list("pk", flat=True)[:100])


def release_overdue() -> int:
    """Put items whose lease ran out without a choice back into the queue; the number of them."""
    overdue = Showing.objects.filter(
        ~IS_JUDGED,
        purpose=Showing.Purpose.SECOND_OPINION,
        lease_until__lt=Now(),
        replaced_at__isnull=True,
        judged_at__isnull=True,
    )
    released = 0
    for showing in overdue.select_related("turn"):
        with transaction.atomic():
            Showing.objects.select_for_update().get(pk=showing.pk)  # a choice may be on its way
            if overdue.filter(pk=showing.pk).update(replaced_at=timezone.now()) == 1:
                _put_back(showing)
                released += 1
    return released


def _put_back(showing: Showing) -> None:
    """For somebody else, unless the choice that it was offered for was undone meanwhile."""
    if Turn.objects.filter(pk=showing.turn_id, continued_by__isnull=False).exists():
        put_up(showing.turn, showing.side_a_id, showing.side_b_id)
