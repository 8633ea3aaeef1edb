"""What goes on at this moment: people at work, leases, what waits to be written, and how long it takes.

Reads only; who holds what, and what becomes of a lease that ran out, is the services'.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now as ByTheDatabase
from django.utils.timezone import now

from comparisons.models import (
    Assignment,
    Comparison,
    Crowdworker,
    Response,
    Showing,
    Turn,
    WantedReply,
)

ACTIVE_MINUTES = 10


@dataclass(frozen=True, kw_only=True)
class Now:
    """What goes on at this moment."""

    people: int  # chose or wrote in the last minutes
    writing: int  # turns whose responses are being written, as the strip on top counts them
    queue: int  # of them, those that wait: nobody took them yet, or their writer is gone
    leases: int  # what is held until a time: assignments, second opinions, replies, turns
    late: int  # of them, past that time: not given back yet
    first_word_p95: int | None  # milliseconds, over the last hour
    first_words: int  # responses that it is of
    failed_hour: int


def happening_now() -> Now:
    """People, leases, turns and waiting at this moment."""
    at = now()
    hour = at - timedelta(hours=1)
    turns = _of_turns()
    held = [*_held(), (turns["held"], turns["late"])]
    p95, first_words = _first_word_p95(since=hour)
    return Now(
        people=_people(since=at - timedelta(minutes=ACTIVE_MINUTES)),
        writing=turns["every"],
        queue=turns["every"] - turns["held"] + turns["late"],
        leases=sum(count for count, _late in held),
        late=sum(late for _count, late in held),
        first_word_p95=p95,
        first_words=first_words,
        failed_hour=Turn.objects.filter(state=Turn.State.FAILED, created_at__gte=hour).count(),
    )


def _people(*, since: datetime) -> int:
    # two questions: joined into one, every choice of a person would meet each of their turns
    chose = Comparison.objects.filter(crowdworker=OuterRef("pk"), created_at__gte=since)
    wrote = Turn.objects.filter(conversation__crowdworker=OuterRef("pk"), created_at__gte=since)
    real = Crowdworker.objects.exclude(platform=Crowdworker.Platform.SIMULATED)
    return real.filter(Exists(chose) | Exists(wrote)).count()


def _of_turns() -> dict[str, int]:
    """Turns to be written: every one, those under a lease, and of these the late."""
    unwritten = Turn.objects.filter(state=Turn.State.GENERATING).order_by()
    return unwritten.aggregate(every=Count("pk"), held=Count("lease_until"), late=_late())


def _held() -> list[tuple[int, int]]:
    """What people hold, of each kind: how many, and how many past their time."""
    is_judged = (
        Exists(  # for rows whose `judged_at` does not say so, because older code stored the choice
            Comparison.objects.filter(showing=OuterRef("pk"), superseded_at__isnull=True)
        )
    )
    kinds: tuple[QuerySet[Any, Any], ...] = (
        Assignment.objects.filter(state__in=Assignment.OPEN_STATES),
        Showing.objects.filter(
            ~is_judged, purpose=Showing.Purpose.SECOND_OPINION, crowdworker__isnull=False,
            replaced_at__isnull=True, judged_at__isnull=True,
        ),
        WantedReply.objects.filter(crowdworker__isnull=False, response__isnull=True),
    )  # fmt: skip
    leased = [kind.filter(lease_until__isnull=False).order_by() for kind in kinds]
    sums = [each.aggregate(count=Count("pk"), late=_late()) for each in leased]
    return [(each["count"], each["late"]) for each in sums]


def _late() -> Count:
    return Count("pk", filter=Q(lease_until__lt=ByTheDatabase()))


def _first_word_p95(*, since: datetime) -> tuple[int | None, int]:
    """Milliseconds that 19 of 20 responses took no longer than, or nothing; and of how many."""
    times = Response.objects.filter(
        completed_at__gte=since, first_token_milliseconds__isnull=False
    ).order_by("first_token_milliseconds")
    count = times.count()
    if not count:
        return None, 0
    at = min(count - 1, int(0.95 * count))
    return times.values_list("first_token_milliseconds", flat=True)[at], count
