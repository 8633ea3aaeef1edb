"""What is to be paid: work done by the piece, and the assignments of people who came by invitation.

Reads only; rates and states are rows, and who accepts or pays is the service's business.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from comparisons.models import (
    Assignment,
    Campaign,
    Comparison,
    Crowdworker,
    Payslip,
    Showing,
    WantedReply,
)
from comparisons.queries.work import counted, earned

CENT = Decimal("0.01")
CHECKED_WITHIN_DAYS = 2  # as people read it in My work
HANDED_IN = (Assignment.State.SUBMITTED, Assignment.State.ACCEPTED, Assignment.State.PAID)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Pieces of one person in one campaign that are on no payslip yet."""

    crowdworker: int
    campaign: int
    kind: str
    count: int
    active_milliseconds: int
    last_at: datetime


@dataclass(frozen=True, kw_only=True)
class PieceRow:
    """Work by the piece as a person reads it in My work: on a payslip, or not handed in yet."""

    campaign: Campaign
    kind: str
    count: int
    active_milliseconds: int
    amount: Decimal
    currency: str
    state: str
    at: datetime
    paid_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PayRow:
    """One line of a campaign's pay page."""

    crowdworker: Crowdworker
    work: str
    done: str
    state: str
    amount: Decimal
    currency: str
    active_milliseconds: int
    handed_in_at: datetime | None
    choices: int | None = None  # in conversations
    last_submission: str = ""  # where a platform knows the person by one


def unpaid_opinions(*, until: datetime | None = None, **conditions: object) -> QuerySet[Comparison]:
    """Second opinions that stand and are on no payslip. Simulated people are not paid."""
    if until is not None:
        conditions["created_at__lte"] = until
    return Comparison.objects.filter(
        showing__purpose=Showing.Purpose.SECOND_OPINION, superseded_at__isnull=True,
        crowdworker__isnull=False, piece__isnull=True, **conditions,
    ).exclude(crowdworker__platform=Crowdworker.Platform.SIMULATED)  # fmt: skip


def unpaid_replies(*, until: datetime | None = None, **conditions: object) -> QuerySet[WantedReply]:
    """Replies that were written and are on no payslip. Simulated people are not paid."""
    if until is not None:
        conditions["written_at__lte"] = until
    return WantedReply.objects.filter(
        response__isnull=False, crowdworker__isnull=False, piece__isnull=True, **conditions
    ).exclude(crowdworker__platform=Crowdworker.Platform.SIMULATED)


def pending(
    *,
    crowdworker: Crowdworker | None = None,
    campaign: Campaign | None = None,
    until: datetime | None = None,
) -> list[Pending]:
    """Pieces on no payslip, summed for each person, campaign and kind."""
    conditions: dict[str, object] = {}
    if crowdworker is not None:
        conditions["crowdworker"] = crowdworker
    if campaign is not None:
        conditions["turn__conversation__campaign"] = campaign
    opinions = _summed(unpaid_opinions(until=until, **conditions), at="created_at")
    replies = _summed(unpaid_replies(until=until, **conditions), at="written_at")
    return [
        Pending(
            crowdworker=each["crowdworker_id"], campaign=each["turn__conversation__campaign_id"],
            kind=kind, count=each["count"], active_milliseconds=each["spent"] or 0,
            last_at=each["last"],
        )
        for kind, rows in ((Payslip.Kind.OPINIONS, opinions), (Payslip.Kind.REPLIES, replies))
        for each in rows
    ]  # fmt: skip


def _summed(pieces: QuerySet[Any, Any], *, at: str) -> Iterable[dict[str, Any]]:
    groups = pieces.order_by().values("crowdworker_id", "turn__conversation__campaign_id")
    summed: Iterable[dict[str, Any]] = groups.annotate(
        count=Count("pk"), spent=Sum("active_milliseconds"), last=Max(at)
    )
    return summed


def rate_of(campaign: Campaign, kind: str) -> Decimal:
    """What the campaign pays for one piece now."""
    return campaign.opinion_pay if kind == Payslip.Kind.OPINIONS else campaign.reply_pay


def amount_of(*, rate: Decimal, count: int) -> Decimal:
    """In whole cents, half a cent upwards."""
    return (rate * count).quantize(CENT, rounding=ROUND_HALF_UP)


def piece_rows(crowdworker: Crowdworker, *, states: Iterable[str] = ()) -> list[PieceRow]:
    """The person's work by the piece where it is paid, what waits first, then payslips."""
    wanted = set(states) or set(Payslip.State.values)
    rows = []
    if Payslip.State.SUBMITTED in wanted:
        rows = _waiting_rows(crowdworker)
    slips = crowdworker.payslips.filter(state__in=wanted, amount__gt=0).select_related("campaign")
    return rows + [
        PieceRow(
            campaign=slip.campaign, kind=slip.kind, count=slip.piece_count,
            active_milliseconds=slip.active_milliseconds, amount=slip.amount,
            currency=slip.currency, state=slip.state, at=slip.submitted_at, paid_at=slip.paid_at,
        )
        for slip in slips[:200]
    ]  # fmt: skip


def of_this_week(crowdworker: Crowdworker) -> list[tuple[str, Decimal]]:
    """Currency and amount of the pieces done within the last seven days, at the rate of their payslip or of now."""
    since = timezone.now() - timedelta(days=7)
    opinions = Comparison.objects.filter(
        crowdworker=crowdworker, showing__purpose=Showing.Purpose.SECOND_OPINION,
        superseded_at__isnull=True, created_at__gte=since,
    )  # fmt: skip
    written = WantedReply.objects.filter(
        crowdworker=crowdworker, response__isnull=False, written_at__gte=since
    )
    return [*_rated(opinions, now="opinion_pay"), *_rated(written, now="reply_pay")]


def _rated(pieces: QuerySet[Any, Any], *, now: str) -> Iterator[tuple[str, Decimal]]:
    campaign, slip = "turn__conversation__campaign__", "piece__payslip__"
    names = (f"{slip}rate", f"{slip}currency", f"{campaign}{now}", f"{campaign}pay_currency")
    groups = pieces.order_by().values(*names).annotate(count=Count("pk"))
    for rate, currency, rate_now, currency_now, count in groups.values_list(*names, "count"):
        amount = amount_of(rate=rate_now if rate is None else rate, count=count)
        if amount:
            yield currency or currency_now, amount


def _waiting_rows(crowdworker: Crowdworker) -> list[PieceRow]:
    waiting = pending(crowdworker=crowdworker)
    campaigns = Campaign.objects.in_bulk({each.campaign for each in waiting})
    rows = []
    for each in waiting:
        campaign = campaigns[each.campaign]
        if rate := rate_of(campaign, each.kind):
            rows.append(PieceRow(
                campaign=campaign, kind=each.kind, count=each.count,
                active_milliseconds=each.active_milliseconds,
                amount=amount_of(rate=rate, count=each.count), currency=campaign.pay_currency,
                state=Payslip.State.SUBMITTED, at=each.last_at,
            ))  # fmt: skip
    return rows


def invited_work(campaign: Campaign) -> QuerySet[Assignment]:
    """Assignments handed in by people whom no other platform pays."""
    mine = Assignment.objects.filter(campaign=campaign, state__in=HANDED_IN, arrival__isnull=True)
    return mine.exclude(crowdworker__platform=Crowdworker.Platform.SIMULATED)


def waiting_long() -> list[tuple[Campaign, bool, int]]:
    """Campaigns whose people wait longer than they were told: by a platform or not, and how many."""
    before = timezone.now() - timedelta(days=CHECKED_WITHIN_DAYS)
    late = Assignment.objects.filter(
        state=Assignment.State.SUBMITTED, submitted_at__lt=before
    ).exclude(crowdworker__platform=Crowdworker.Platform.SIMULATED)
    is_by_platform = Q(arrival__isnull=False)
    rows = late.order_by("campaign").values("campaign")
    counted_rows = rows.annotate(
        by_platform=Count("pk", filter=is_by_platform),
        by_invitation=Count("pk", filter=~is_by_platform),
    )
    campaigns = Campaign.objects.in_bulk([row["campaign"] for row in counted_rows])
    found = [
        (campaigns[row["campaign"]], is_platform, count)
        for row in counted_rows
        for is_platform, count in ((True, row["by_platform"]), (False, row["by_invitation"]))
    ]
    return [each for each in found if each[2]]


def pay_rows(campaign: Campaign) -> list[PayRow]:
    """Everything in the campaign that this site's staff pay for: what is not paid yet comes first."""
    rows = [*_assignment_rows(campaign), *_slip_rows(campaign), *_pending_rows(campaign)]
    submissions = dict(
        Assignment.objects.filter(campaign=campaign)
        .exclude(external_submission_id="")
        .order_by("pk")
        .values_list("crowdworker_id", "external_submission_id")
    )
    order = {state.value: place for place, state in enumerate(HANDED_IN)}
    rows.sort(key=lambda row: (order[row.state], row.crowdworker.pseudonym))
    return [replace(row, last_submission=submissions.get(row.crowdworker.pk, "")) for row in rows]


def _assignment_rows(campaign: Campaign) -> Iterator[PayRow]:
    for each in counted(invited_work(campaign)).select_related("crowdworker", "campaign"):
        done = each.finished  # type: ignore[attr-defined]
        pay = earned(each, finished=done)
        yield PayRow(
            crowdworker=each.crowdworker, work="conversations",
            done=f"{done} of {each.conversations_required}", state=each.state,
            amount=pay.amount, currency=pay.currency,
            active_milliseconds=each.active_milliseconds, handed_in_at=each.submitted_at,
            choices=each.choices,  # type: ignore[attr-defined]
        )  # fmt: skip


def _slip_rows(campaign: Campaign) -> Iterator[PayRow]:
    for slip in campaign.payslips.filter(amount__gt=0).select_related("crowdworker"):
        yield PayRow(
            crowdworker=slip.crowdworker, work=slip.get_kind_display(), done=str(slip.piece_count),
            state=slip.state, amount=slip.amount, currency=slip.currency,
            active_milliseconds=slip.active_milliseconds, handed_in_at=slip.submitted_at,
        )  # fmt: skip


def _pending_rows(campaign: Campaign) -> Iterator[PayRow]:
    waiting = pending(campaign=campaign)
    people = Crowdworker.objects.in_bulk({each.crowdworker for each in waiting})
    for each in waiting:
        if rate := rate_of(campaign, each.kind):
            yield PayRow(
                crowdworker=people[each.crowdworker], work=Payslip.Kind(each.kind).label,
                done=str(each.count), state=Payslip.State.SUBMITTED,
                amount=amount_of(rate=rate, count=each.count), currency=campaign.pay_currency,
                active_milliseconds=each.active_milliseconds, handed_in_at=each.last_at,
            )  # fmt: skip


def totals(rows: Iterable[PayRow]) -> list[tuple[str, str, Decimal]]:
    """What each state comes to, by currency."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row.state, row.currency] += row.amount
    return [(state, currency, amount) for (state, currency), amount in sums.items()]


@dataclass(frozen=True, kw_only=True)
class PiecePay:
    """What one piece pays in the campaigns that a person may read, in one currency."""

    low: Decimal
    high: Decimal
    currency: str


def piece_pay(campaigns: Iterable[int], kind: str) -> list[PiecePay]:
    """From the lowest to the highest rate of these campaigns; nothing where none of them pays."""
    rates: dict[str, list[Decimal]] = defaultdict(list)
    for campaign in Campaign.objects.filter(pk__in=campaigns):
        if rate := rate_of(campaign, kind):
            rates[campaign.pay_currency].append(_plain(rate))
    return [
        PiecePay(low=min(found), high=max(found), currency=currency)
        for currency, found in rates.items()
    ]


def _plain(rate: Decimal) -> Decimal:
    """Two places, or three where the third says something."""
    return rate.quantize(CENT) if rate == rate.quantize(CENT) else rate
