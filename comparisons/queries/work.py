"""What a crowdworker can do now and what they did: campaigns, assignments, time and pay.

Reads only; knows one person's rows at a time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from comparisons.models import (
    Arrival,
    ArrivalSource,
    Assignment,
    AuditEntry,
    Campaign,
    Conversation,
    Crowdworker,
)
from comparisons.models.campaign import Objective


@dataclass(frozen=True, kw_only=True)
class CampaignCard:
    """One campaign on the start page."""

    campaign: Campaign
    assignment: Assignment | None
    finished: int

    @property
    def total(self) -> int:
        """Conversations of the assignment that was begun, else of the one that would be."""
        begun = self.assignment
        return begun.conversations_required if begun else self.campaign.conversations_per_assignment

    @property
    def pay(self) -> dict[str, str]:
        """What was promised when the assignment was begun, else what the campaign pays now."""
        return self.assignment.pay_rule if self.assignment else pay_rule_of(self.campaign)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One conversation of an assignment, begun or not."""

    number: int
    state: str  # finished, open, abandoned, not_started
    conversation: Conversation | None
    choices: int
    turns: int


@dataclass(frozen=True, kw_only=True)
class Earned:
    """What an assignment pays, as far as it was done."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, kw_only=True)
class WorkRow:
    """One assignment in My work."""

    assignment: Assignment
    finished: int
    choices: int
    earned: Earned

    @property
    def is_rejected(self) -> bool:
        """The platform did not take the work."""
        return is_rejected(self.assignment)


def open_campaigns(crowdworker: Crowdworker) -> QuerySet[Campaign]:
    """Live campaigns for the person's pool, helpful work first."""
    for_pool = Q(pool="") | Q(pool=crowdworker.pool)
    live = Campaign.objects.filter(for_pool, state=Campaign.State.LIVE)
    if crowdworker.platform in ArrivalSource.Platform:  # work is taken on there, not here
        live = live.filter(pk__in=crowdworker.assignments.values("campaign_id"))
    return live.order_by("-objective", "title")


def campaign_cards(crowdworker: Crowdworker) -> list[CampaignCard]:
    """Every open campaign with how far the person is in it."""
    standing = {
        assignment.campaign_id: assignment
        for assignment in counted(crowdworker.assignments.filter(state__in=Assignment.OPEN_STATES))
    }
    return [
        CampaignCard(
            campaign=campaign,
            assignment=standing.get(campaign.pk),
            finished=standing[campaign.pk].finished if campaign.pk in standing else 0,  # type: ignore[attr-defined]
        )
        for campaign in open_campaigns(crowdworker)
    ]


def helpful_alternatives(crowdworker: Crowdworker, *, besides: Campaign) -> QuerySet[Campaign]:
    """Other work, helpful only: where one may go from red-team work."""
    others = open_campaigns(crowdworker).exclude(pk=besides.pk)
    return others.filter(objective=Objective.HELPFUL)


def counted(assignments: QuerySet[Assignment]) -> QuerySet[Assignment]:
    """Assignments with how many conversations were finished and how many choices stand."""
    finished = Q(conversations__state=Conversation.State.FINISHED)
    chosen = Q(conversations__turns__continued_by__isnull=False)
    return assignments.select_related("campaign").annotate(
        finished=Count("conversations", filter=finished, distinct=True),
        choices=Count("conversations__turns", filter=chosen, distinct=True),
    )


def steps(assignment: Assignment) -> list[Step]:
    """The conversations of an assignment in order, those to come included."""
    chosen = Count("turns", filter=Q(turns__continued_by__isnull=False))
    rows = {
        each.position: each
        for each in assignment.conversations.annotate(choices=chosen, turn_count=Count("turns"))
    }
    return [
        Step(
            number=number,
            state=rows[number].state if number in rows else "not_started",
            conversation=rows.get(number),
            choices=rows[number].choices if number in rows else 0,
            turns=rows[number].turn_count if number in rows else 0,
        )
        for number in range(1, assignment.conversations_required + 1)
    ]


def pay_rule_of(campaign: Campaign) -> dict[str, str]:
    """What the campaign pays, as an assignment keeps it."""
    return {
        "amount": str(campaign.pay_amount),
        "currency": campaign.pay_currency,
        "per": campaign.pay_per,
    }


def earned(assignment: Assignment, *, finished: int) -> Earned:
    """By the pay rule that stood when the assignment was opened, in proportion to what is done.

    What was given back is not paid.
    """
    rule = assignment.pay_rule
    amount = Decimal(str(rule.get("amount", "0")))
    if assignment.state == Assignment.State.RETURNED:
        amount = Decimal(0)
    elif rule.get("per") == "hour":
        amount *= Decimal(assignment.active_milliseconds) / Decimal(3_600_000)
    else:
        amount *= Decimal(finished) / Decimal(max(assignment.conversations_required, 1))
    return Earned(amount=amount.quantize(Decimal("0.01")), currency=rule.get("currency", ""))


def is_rejected(assignment: Assignment) -> bool:
    """The platform did not take the work, by its own word; what it paid after all is not given back any more."""
    if assignment.state != Assignment.State.RETURNED:
        return False
    arrival: Arrival | None = getattr(assignment, "arrival", None)
    return arrival is not None and arrival.platform_status == "REJECTED"


def is_overdue_return(assignment: Assignment) -> bool:
    """It was given back because its lease ran out, and not by anybody's decision."""
    return AuditEntry.objects.filter(
        action="assignment.returned",
        object_type="assignment",
        object_id=str(assignment.public_id),
        detail__reason="lease over",
    ).exists()


def work_rows(crowdworker: Crowdworker, *, states: Iterable[str] = ()) -> list[WorkRow]:
    """The person's assignments, newest first."""
    wanted = list(states)
    assignments = crowdworker.assignments.all()
    if wanted:
        assignments = assignments.filter(state__in=wanted)
    return [
        WorkRow(
            assignment=assignment,
            finished=assignment.finished,  # type: ignore[attr-defined]
            choices=assignment.choices,  # type: ignore[attr-defined]
            earned=earned(assignment, finished=assignment.finished),  # type: ignore[attr-defined]
        )
        for assignment in counted(assignments).select_related("arrival").order_by("-pk")[:200]
    ]


def this_week(rows: Iterable[WorkRow]) -> list[WorkRow]:
    """Those begun within the last seven days."""
    since = timezone.now() - timedelta(days=7)
    return [row for row in rows if row.assignment.created_at >= since]
