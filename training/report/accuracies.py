"""The parts of a test split and how many of their comparisons came out right, as a table.

Pure; reads evaluation.json as it was recorded, where turns are counted from 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One part's accuracy and its interval, in percent."""

    part: str
    value: float
    low: float
    high: float
    n: int


def accuracies(evaluation: Mapping[str, Any]) -> list[Accuracy]:
    """By objective, tranche and turn; nothing where no comparison was judged."""
    turns = {f"turn {turn_name(key)}": part for key, part in _parts(evaluation, "by_turn").items()}
    named = [_parts(evaluation, "by_objective"), _parts(evaluation, "by_tranche"), turns]
    return [
        Accuracy(
            part=name, value=PERCENT * part["value"], low=PERCENT * part["low"],
            high=PERCENT * part["high"], n=part["n"],
        )
        for parts in named
        for name, part in parts.items()
    ]  # fmt: skip


def turn_name(key: str) -> str:
    """A turn as people count it, from 1; a plus stands for all that follow."""
    number = key.removesuffix("+")
    return f"{int(number) + 1}{key.removeprefix(number)}" if number.isdecimal() else key


def _parts(evaluation: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return evaluation.get(name) or {}
