"""What each step of paying would move: how many lines of the pay page, and what they come to.

Knows the page's lines; taking a step is services.paying's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from comparisons.models import Payslip
from comparisons.queries.pay import PayRow, totals


@dataclass(frozen=True, kw_only=True)
class Step:
    """The lines that stand before a step."""

    count: int
    sums: tuple[tuple[str, Decimal], ...]  # currency, amount


def steps(rows: Iterable[PayRow]) -> dict[str, Step]:
    """By the state that a line comes to: what would be accepted, and what would be marked as paid."""
    found = list(rows)
    return {
        Payslip.State.ACCEPTED.value: _step(found, state=Payslip.State.SUBMITTED),
        Payslip.State.PAID.value: _step(found, state=Payslip.State.ACCEPTED),
    }


def _step(rows: Iterable[PayRow], *, state: str) -> Step:
    # pieces that come to less than half a cent wait for more; a conversation counts whatever it pays
    ripe = [row for row in rows if row.state == state and (row.amount or row.choices is not None)]
    sums = tuple((currency, amount) for _state, currency, amount in totals(ripe))
    return Step(count=len(ripe), sums=sums)
