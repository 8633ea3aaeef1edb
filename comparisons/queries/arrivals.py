"""Who came through a source and what is to be paid, by pseudonym and submission.

Reads only; the id that a platform knows a person by is not here to be read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Q, QuerySet

from comparisons.models import (
    Arrival,
    ArrivalSource,
    Assignment,
    Campaign,
    Conversation,
    Crowdworker,
)
from comparisons.queries.work import earned


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """One source with how many of its assignments are in each state."""

    source: ArrivalSource
    counts: list[tuple[str, int]]
    taken: int


@dataclass(frozen=True, kw_only=True)
class PayRow:
    """One assignment as it is to be approved and paid."""

    arrival: Arrival
    finished: int
    choices: int
    amount: Decimal
    currency: str


def source_rows(campaign: Campaign) -> list[SourceRow]:
    """The campaign's sources, newest first."""
    return [source_row(source) for source in campaign.arrival_sources.all()]


def source_row(source: ArrivalSource) -> SourceRow:
    """One source with its counts, in the order of the states."""
    found = dict(
        Assignment.objects.filter(arrival__source=source)
        .order_by()
        .values_list("state")
        .annotate(count=Count("pk"))
    )
    labels = dict(Assignment.State.choices)
    counts = [(labels[state], found[state]) for state in Assignment.State if state in found]
    taken = sum(found.values()) - found.get(Assignment.State.RETURNED, 0)
    return SourceRow(source=source, counts=counts, taken=taken)


def pay_rows(source: ArrivalSource) -> Iterator[PayRow]:
    """Every assignment of the source that was handed in, oldest first."""
    states = (Assignment.State.SUBMITTED, Assignment.State.ACCEPTED, Assignment.State.PAID)
    done = Q(assignment__conversations__state=Conversation.State.FINISHED)
    chosen = Q(assignment__conversations__turns__continued_by__isnull=False)
    arrivals = (
        Arrival.objects.filter(source=source, assignment__state__in=states)
        .select_related("source", "assignment__crowdworker")
        .annotate(
            finished=Count("assignment__conversations", filter=done, distinct=True),
            choices=Count("assignment__conversations__turns", filter=chosen, distinct=True),
        )
        .order_by("pk")
    )
    for arrival in arrivals:
        pay = earned(arrival.assignment, finished=arrival.finished)  # type: ignore[attr-defined]
        yield PayRow(
            arrival=arrival,
            finished=arrival.finished,
            choices=arrival.choices,
            amount=pay.amount,
            currency=pay.currency,  # type: ignore[attr-defined]
        )


def arrivals_to_hand_in(crowdworker: Crowdworker) -> QuerySet[Arrival]:
    """What the person finished and is to hand in on its platform, if they have not yet; newest first."""
    rows = Arrival.objects.select_related("assignment", "source__campaign")
    submitted = rows.filter(assignment__state=Assignment.State.SUBMITTED)
    return submitted.filter(assignment__crowdworker=crowdworker).order_by("-pk")


def arrival_to_hand_in(crowdworker: Crowdworker, campaign: Campaign) -> Arrival | None:
    """The person's latest arrival in the campaign: its last page leads back to the platform."""
    rows = Arrival.objects.select_related("assignment")
    mine = rows.filter(assignment__crowdworker=crowdworker, source__campaign=campaign)
    return mine.order_by("-pk").first()
