"""How much red-team text people read, for staff: sums over people, never one person's figures.

Reads only; each person sees their own share, elsewhere.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from statistics import median

from django.db.models import QuerySet
from django.db.models.functions import TruncDate
from django.utils.timezone import now

from comparisons.models import Crowdworker, LapsedReply, PassedReply, Showing, Turn, WantedReply
from comparisons.models.campaign import Objective

DAYS = 7
FEWEST_PEOPLE = 5  # below, a sum would be a person's own figure


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The last days over everybody who read red-team responses."""

    people: int
    responses: int
    median_a_day: float  # responses per person and day on which they read any
    most_a_day: int  # that nineteen of twenty such days stay within
    opted_in: int
    upsetting: int  # turns skipped and replies given back because they were upsetting


def exposure() -> Exposure | None:
    """None where fewer than five people read any: their figures stay their own."""
    since = now() - timedelta(days=DAYS)
    days = _responses_by_day(since)
    people = {person for person, _ in days}
    if len(people) < FEWEST_PEOPLE:
        return None
    counts = sorted(days.values())
    skipped = Turn.objects.filter(
        conversation__objective=Objective.HARMLESS, skip_reason="upsetting", created_at__gte=since
    )
    given_back = _passed(since).filter(reason="upsetting")
    return Exposure(
        people=len(people),
        responses=sum(counts),
        median_a_day=median(counts),
        most_a_day=counts[ceil(0.95 * len(counts)) - 1],
        opted_in=Crowdworker.objects.filter(is_red_team_opted_in=True, standing="active").count(),
        upsetting=skipped.count() + given_back.count(),
    )


def _responses_by_day(since: datetime) -> Counter[tuple[int, object]]:
    """(person, day) → red-team responses read: two a showing, and two a prompt for a reply."""
    shown = Showing.objects.filter(
        turn__conversation__objective=Objective.HARMLESS, crowdworker__isnull=False
    )
    # a pair shown once more beside a response of one's own is nothing new to read
    new = shown.filter(side_a__author__isnull=True, side_b__author__isnull=True)
    own = new.filter(purpose=Showing.Purpose.AUTHOR, created_at__gte=since)
    opinions = shown.filter(purpose=Showing.Purpose.SECOND_OPINION, lease_until__gte=since)
    prompts = WantedReply.objects.filter(
        crowdworker__isnull=False,
        lease_until__gte=since,
        turn__conversation__objective=Objective.HARMLESS,
    )
    lapsed = LapsedReply.objects.filter(
        shown_at__gte=since, wanted__turn__conversation__objective=Objective.HARMLESS
    )
    days: Counter[tuple[int, object]] = Counter()
    for rows, moment in (
        (own, "created_at"), (opinions, "lease_until"), (prompts, "lease_until"),
        (_passed(since), "at"), (lapsed, "shown_at"),
    ):  # fmt: skip
        seen = rows.annotate(day=TruncDate(moment)).values_list("crowdworker", "day")
        for key in seen:
            days[key] += 2
    return days


def _passed(since: datetime) -> QuerySet[PassedReply]:
    return PassedReply.objects.filter(
        at__gte=since, wanted__turn__conversation__objective=Objective.HARMLESS
    )
