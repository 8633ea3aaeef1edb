"""The evidence for a promotion as a value: conditions met, not met, or judged on too few cases.

Knows figures and bounds; knows neither slots nor where the figures come from.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Standing = Literal["met", "not_met", "too_few"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One gate: what was asked, what was found, and whether that is enough."""

    name: str
    standing: Standing
    found: float | None = None
    bound: float | None = None
    n: int | None = None
    says: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The condition as a promotion event keeps it."""
        return {
            "name": self.name,
            "standing": self.standing,
            "found": self.found,
            "bound": self.bound,
            "n": self.n,
            "says": self.says,
        }


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything a promotion rests on. Without a condition nothing is shown, so nothing is met."""

    conditions: tuple[Condition, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        """Whether there are conditions and all of them are met."""
        return bool(self.conditions) and not self.unmet

    @property
    def unmet(self) -> tuple[Condition, ...]:
        """The conditions that are not met or were judged on too few cases."""
        return tuple(each for each in self.conditions if each.standing != "met")

    def plus(self, *conditions: Condition) -> "Evidence":
        """The same evidence with further conditions."""
        return Evidence(conditions=(*self.conditions, *conditions), figures=self.figures)

    def to_dict(self) -> dict[str, Any]:
        """The evidence as a promotion event keeps it."""
        return {
            "conditions": [condition.to_dict() for condition in self.conditions],
            "figures": dict(self.figures),
        }


NO_EVIDENCE = Evidence()


def at_least(
    name: str, *, found: float | None, bound: float, n: int | None = None, fewest: int = 0
) -> Condition:
    """Met when `found` reaches `bound` on at least `fewest` cases."""
    standing = _standing(found, bound=bound, n=n, fewest=fewest)
    return Condition(
        name=name, standing=standing, found=found, bound=bound, n=n, says=_says(n, fewest)
    )


def _standing(found: float | None, *, bound: float, n: int | None, fewest: int) -> Standing:
    if found is None or (n or 0) < fewest:
        return "too_few"
    if not math.isfinite(found):
        return "not_met"
    return "met" if found >= bound else "not_met"


def _says(n: int | None, fewest: int) -> str:
    return f"{n or 0} of at least {fewest} cases" if fewest else ""
