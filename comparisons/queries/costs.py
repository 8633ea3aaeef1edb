"""What a comparison of today costs, by campaign: the pay for what was finished, over the choices in it.

Reads only; what a platform takes on top, and replies that people write, are no part of it.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from django.db.models import Count, OuterRef, Subquery
from django.utils.timezone import localtime

from comparisons.models import Assignment, Comparison, Conversation, Showing, Turn
from comparisons.models.campaign import Origin

MILLISECONDS_AN_HOUR = 3_600_000
CENT, TENTH = Decimal("0.01"), Decimal("0.001")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What comparisons of one campaign cost together, in one currency."""

    amount: Decimal
    currency: str
    n: int  # comparisons, at least one

    @property
    def text(self) -> str:
        """The cost of each with n; to a tenth of a cent below ten cents."""
        each = self.amount / self.n
        unit = TENTH if 0 < each < 10 * CENT else CENT
        return f"{each.quantize(unit, rounding=ROUND_HALF_UP):,} {self.currency}, n {self.n:,}"


def costs_today() -> dict[int, tuple[Cost, ...]]:
    """Of each campaign, by currency; a campaign where no comparison is finished today is not in it.

    Conversations that ended today are paid by their assignment's rule, second opinions by the piece.
    What was given back is not paid, and left out.
    """
    amounts: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    counts: dict[tuple[int, str], int] = defaultdict(int)
    for campaign, cost in [*_of_conversations(), *_of_opinions()]:
        amounts[campaign, cost.currency] += cost.amount
        counts[campaign, cost.currency] += cost.n
    found: dict[int, tuple[Cost, ...]] = {}
    for (campaign, currency), n in sorted(counts.items()):
        if n:
            cost = Cost(amount=amounts[campaign, currency], currency=currency, n=n)
            found[campaign] = (*found.get(campaign, ()), cost)
    return found


def _of_conversations() -> Iterator[tuple[int, Cost]]:
    """Each conversation that ended today, with the choices that stand in it."""
    chosen = Turn.objects.filter(conversation=OuterRef("pk"), continued_by__isnull=False)
    choices = chosen.order_by().values("conversation").annotate(n=Count("pk")).values("n")
    ended = Conversation.objects.filter(
        origin=Origin.CROWD, assignment__isnull=False, finished_at__gte=_midnight()
    ).exclude(assignment__state=Assignment.State.RETURNED)
    rows = ended.order_by().values_list(
        "campaign", "active_milliseconds", "assignment__pay_rule",
        "assignment__conversations_required", Subquery(choices),
    )  # fmt: skip
    for campaign, milliseconds, rule, required, count in rows:
        amount = Decimal(str(rule.get("amount", "0")))
        if rule.get("per") == "hour":
            amount *= Decimal(milliseconds) / MILLISECONDS_AN_HOUR
        else:
            amount /= max(required, 1)
        yield campaign, Cost(amount=amount, currency=rule.get("currency", ""), n=count or 0)


def _of_opinions() -> Iterator[tuple[int, Cost]]:
    """Today's second opinions of each campaign, at its rate."""
    given = Comparison.objects.filter(
        showing__purpose=Showing.Purpose.SECOND_OPINION, superseded_at__isnull=True,
        origin=Origin.CROWD, created_at__gte=_midnight(),
    )  # fmt: skip
    of = "turn__conversation__campaign"
    rows = given.order_by().values_list(of, f"{of}__opinion_pay", f"{of}__pay_currency")
    for campaign, rate, currency, count in rows.annotate(count=Count("pk")):
        yield campaign, Cost(amount=rate * count, currency=currency, n=count)


def _midnight() -> datetime:
    return localtime().replace(hour=0, minute=0, second=0, microsecond=0)
