"""The queue of second opinions: what a person may read, what they hold, what waits for them.

Reads only; taking an item and judging it belong to the services.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from comparisons.models import (
    Campaign,
    Comparison,
    ConsentRecord,
    Crowdworker,
    InstructionVersion,
    Showing,
    WantedReply,
)
from comparisons.models.campaign import BOUNDS, Objective
from comparisons.queries.flags import HEEDED, PERSONAL_DATA, flagged
from comparisons.queries.practice import needs_no_practice
from comparisons.queries.prepared import Prepared

LOOKED_AT = 40  # waiting showings considered at once, so that many people do not all want the first
SHOWN = (  # what the page and the judging need of an item
    "public_id", "purpose", "is_covered", "layout", "lease_until", "replaced_at", "crowdworker",
    "turn__public_id", "turn__index", "turn__message", "turn__state", "turn__continued_by",
    *(f"turn__conversation__{each}" for each in ("opening", "objective", "origin", "state")),
    *(f"turn__conversation__campaign__{each}" for each in ("slug", "question", "language",
                                                          "tranche", "objective")),
    *(f"side_{side}__{each}" for side in "ab"
      for each in ("state", "text", "text_sha256", "finish_reason", "tries")),
)  # fmt: skip
SAID = ("side", "strength", "is_both_bad", "reason_tags", "reason_text")  # what is given back
GIVEN = (
    "created_at", "question", "side", "strength", "showing__public_id",
    "turn__conversation__campaign__undo_seconds",
)  # fmt: skip
MOST_UNDO_SECONDS = BOUNDS["undo_seconds"][1]
STRONGEST = {"mild": 2, "moderate": 3}  # of 5, as the author rated the worst response; else any


@dataclass(frozen=True, kw_only=True)
class OpenCampaign:
    """A campaign whose items the person may read, with the wording in force."""

    pk: int
    is_red_team: bool
    daily_cap: int  # red-team responses
    instructions: int | None


def _items(**conditions: Any) -> QuerySet[Showing]:
    opinions = Showing.objects.filter(purpose=Showing.Purpose.SECOND_OPINION, **conditions)
    related = ("turn__conversation__campaign", "side_a", "side_b")
    return opinions.select_related(*related).only(*SHOWN)


def _standing(*, crowdworker: int, campaigns: Collection[int]) -> QuerySet[Any, Any]:
    mine = Showing.objects.filter(
        crowdworker=crowdworker,
        purpose=Showing.Purpose.SECOND_OPINION,
        replaced_at__isnull=True,
        judged_at__isnull=True,
        lease_until__gt=Now(),
        turn__conversation__is_withdrawn=False,
        turn__conversation__campaign__in=campaigns,
    )
    # unordered: in order, PostgreSQL walks all showings to the end
    return mine.order_by().values_list("lease_until", "pk")


def waiting_for(
    *, crowdworker: int, campaigns: Collection[int], limits: Q | None = None
) -> QuerySet[Showing]:
    """Items that nobody holds, of turns that are not the person's own and that they never saw."""
    seen = Showing.objects.filter(turn=OuterRef("turn"), crowdworker=crowdworker)
    waiting = Showing.objects.filter(
        purpose=Showing.Purpose.SECOND_OPINION,
        crowdworker__isnull=True,
        replaced_at__isnull=True,
        turn__conversation__is_withdrawn=False,
        turn__conversation__campaign__in=campaigns,
    ).exclude(turn__conversation__crowdworker=crowdworker)
    if limits:
        waiting = waiting.filter(limits)
    wrote = WantedReply.objects.filter(turn=OuterRef("turn"), crowdworker=crowdworker)
    usable = ~flagged(HEEDED | PERSONAL_DATA)  # else it is read, and paid, and never released
    return waiting.filter(~Exists(seen), ~Exists(wrote), usable).order_by("pk")


def limits_of(crowdworker: Crowdworker) -> Q:
    """Which red-team turns of others the person is willing to meet; empty where they named no limit.

    What nobody named a topic of, or rated, is beyond every limit.
    """
    bearable = Q()
    if avoided := crowdworker.topic_opt_outs:
        bearable &= ~Q(turn__conversation__topic__in=["", *avoided])
    if strongest := STRONGEST.get(crowdworker.comfort):
        bearable &= Q(turn__conversation__questionnaire__harmfulness__lte=strongest)
    is_helpful_work = ~Q(turn__conversation__objective=Objective.HARMLESS)
    return is_helpful_work | bearable if bearable else bearable


def _next(*, crowdworker: int, campaigns: Collection[int]) -> QuerySet[Any, Any]:
    waiting = waiting_for(crowdworker=crowdworker, campaigns=campaigns)
    return waiting.values_list("pk", "turn__conversation__campaign_id")[:LOOKED_AT]


def _agreed_campaigns(*, crowdworker: int, pool: str) -> QuerySet[Any, Any]:
    latest = InstructionVersion.objects.filter(campaign=OuterRef("pk")).order_by("-version")
    agreed = ConsentRecord.objects.filter(crowdworker=crowdworker).values("instruction_version")
    campaigns = Campaign.objects.filter(state=Campaign.State.LIVE).filter(Q(pool="") | Q(pool=pool))
    campaigns = campaigns.annotate(latest=Subquery(latest.values("pk")[:1]))
    wanted = campaigns.filter(
        Q(latest__isnull=True) | Q(latest__in=agreed), needs_no_practice(crowdworker=crowdworker)
    )
    return wanted.values_list("pk", "objective", "red_team_daily_cap", "latest")


def _latest(*, crowdworker: int, since: datetime) -> QuerySet[Comparison]:
    given = Comparison.objects.filter(
        crowdworker=crowdworker,
        created_at__gte=since,
        superseded_at__isnull=True,
        piece__isnull=True,
        showing__purpose=Showing.Purpose.SECOND_OPINION,
        showing__replaced_at__isnull=True,
        turn__conversation__is_withdrawn=False,
    ).select_related("turn__conversation__campaign", "showing")
    # not by key: in its order, PostgreSQL walks all comparisons to the end
    return given.only(*GIVEN).order_by("-created_at")[:1]


def _undone(*, showing: int) -> QuerySet[Comparison]:
    taken_back = Comparison.objects.filter(showing=showing, superseded_at__isnull=False)
    return taken_back.only(*SAID).order_by("-superseded_at")[:1]


_STANDING: Prepared[Any] = Prepared(_standing)
_NEXT: Prepared[Any] = Prepared(_next)
_AGREED: Prepared[Any] = Prepared(_agreed_campaigns)
_BY_KEY: Prepared[Showing] = Prepared(lambda *, pk: _items(pk=pk))
_LATEST: Prepared[Comparison] = Prepared(_latest)
_UNDONE: Prepared[Comparison] = Prepared(_undone)
_GIVEN: Prepared[Showing] = Prepared(
    lambda *, crowdworker, public_id: _items(crowdworker=crowdworker, public_id=public_id)
)


def open_campaigns(crowdworker: Crowdworker) -> list[OpenCampaign]:
    """Live campaigns for the person's pool whose current wording they accepted."""
    if crowdworker.standing != Crowdworker.Standing.ACTIVE:
        return []
    rows = _AGREED.rows(crowdworker=crowdworker.pk, pool=crowdworker.pool)
    found = [
        OpenCampaign(
            pk=pk,
            is_red_team=objective == Objective.HARMLESS,
            daily_cap=cap,
            instructions=instructions,
        )
        for pk, objective, cap, instructions in rows
    ]
    return [each for each in found if crowdworker.is_red_team_opted_in or not each.is_red_team]


def standing_items(crowdworker: Crowdworker, *, campaigns: list[int]) -> list[int]:
    """Keys of what the person holds and has not judged, begun last first.

    One; more where two tabs are open, or where a choice was taken back.
    """
    if not campaigns:
        return []
    rows = _STANDING.rows(crowdworker=crowdworker.pk, campaigns=campaigns)
    return [int(pk) for _lease, pk in sorted(rows, reverse=True)]


def next_items(crowdworker: Crowdworker, *, campaigns: list[int]) -> list[tuple[int, int]]:
    """Some of those that wait for the person, longest first: keys of item and campaign."""
    if not campaigns:
        return []
    if limits := limits_of(crowdworker):
        columns = ("pk", "turn__conversation__campaign_id")
        found = waiting_for(crowdworker=crowdworker.pk, campaigns=campaigns, limits=limits)
        return list(found.values_list(*columns)[:LOOKED_AT])
    return [
        (pk, campaign)
        for pk, campaign in _NEXT.rows(crowdworker=crowdworker.pk, campaigns=campaigns)
    ]


def item(pk: int) -> Showing:
    """The item with everything that the page and the judging need."""
    return _BY_KEY.objects(pk=pk)[0]


def given_item(crowdworker: Crowdworker, public_id: uuid.UUID) -> Showing | None:
    """An item that the person was given, whatever became of it since."""
    found = _GIVEN.objects(crowdworker=crowdworker.pk, public_id=public_id)
    if not found:
        return None
    found[0].crowdworker = crowdworker
    return found[0]


def undoable_opinion(crowdworker: Crowdworker) -> Comparison | None:
    """The person's latest second opinion, while they may take it back: not once it was handed in for pay."""
    since = timezone.now() - timedelta(seconds=MOST_UNDO_SECONDS)
    for latest in _LATEST.objects(crowdworker=crowdworker.pk, since=since):
        campaign = latest.turn.conversation.campaign
        if campaign is not None and latest.created_at >= campaign.undoable_since():
            return latest
    return None


def undone_opinion(showing: Showing) -> Comparison | None:
    """The second opinion that its reader gave of the pair last and took back."""
    return next(iter(_UNDONE.objects(showing=showing.pk)), None)
