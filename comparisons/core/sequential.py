"""How often one of two wins, between bounds that hold at every look, however many looks there are.

Pure arithmetic over the wins of each conversation; knows no deployment, no rule of promotion and no clock.

A bound for one look is crossed by chance sooner or later if one looks again and again and stops when it is crossed.
These hold for all looks together: the one-sided normal mixture in closed form of Howard et al. 2021 ("Time-uniform,
nonparametric, nonasymptotic confidence sequences") over the self-normalised sum of de la Peña 1999. With s the sum
over conversations of (wins - p choices) and v the sum of the squares, P(s ever reaches the boundary of v) <= chance
where each conversation's part is symmetric around 0, as between two policies that are alike.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

TIGHTEST = 100.0  # v: about 400 choices in conversations of one each, what a trial is to run for
STEPS = 50  # halvings of the share


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What the bounds need of the conversations."""

    choices: int = 0
    wins: int = 0
    conversations: int = 0
    wins_squared: int = 0  # over conversations
    wins_choices: int = 0
    choices_squared: int = 0

    def above(self, share: float) -> float:
        """s: wins beyond those that this share of the choices would be."""
        return self.wins - share * self.choices

    def spread(self, share: float) -> float:
        """v: the sum over conversations of the square of each one's part of s."""
        return self.wins_squared - 2 * share * self.wins_choices + share**2 * self.choices_squared


@dataclass(frozen=True, kw_only=True)
class ShareBounds:
    """A share of wins with the bounds that hold at every look; None: nothing can be said on that side."""

    share: float
    low: float | None
    high: float | None
    choices: int
    conversations: int


def sums_of(conversations: Iterable[tuple[int, int]]) -> Sums:
    """Of (wins, choices), one pair for each conversation: choices in one are not independent."""
    pairs = list(conversations)
    return Sums(
        choices=sum(choices for _wins, choices in pairs),
        wins=sum(wins for wins, _choices in pairs),
        conversations=len(pairs),
        wins_squared=sum(wins * wins for wins, _choices in pairs),
        wins_choices=sum(wins * choices for wins, choices in pairs),
        choices_squared=sum(choices * choices for _wins, choices in pairs),
    )


def share_bounds(sums: Sums, *, chance: float) -> ShareBounds | None:
    """Each bound is wrong at any look, now or later, with at most this chance. None without a choice."""
    if not sums.choices:
        return None
    others = Sums(
        choices=sums.choices, wins=sums.choices - sums.wins, conversations=sums.conversations,
        wins_squared=sums.choices_squared - 2 * sums.wins_choices + sums.wins_squared,
        wins_choices=sums.choices_squared - sums.wins_choices, choices_squared=sums.choices_squared,
    )  # fmt: skip
    theirs = _low(others, chance=chance)
    return ShareBounds(
        share=sums.wins / sums.choices, low=_low(sums, chance=chance),
        high=None if theirs is None else 1 - theirs,
        choices=sums.choices, conversations=sums.conversations,
    )  # fmt: skip


def boundary(spread: float, *, chance: float) -> float:
    """What s crosses at any time, with probability at most `chance`, when v is `spread`."""
    tuned = TIGHTEST / (2 * math.log(1 / chance) + math.log(1 + 2 * math.log(1 / chance)))
    reached = spread + tuned
    return math.sqrt(2 * reached * math.log(math.sqrt(reached / tuned) / (2 * chance) + 1))


def _low(sums: Sums, *, chance: float) -> float | None:
    """The largest share that is ruled out, with all below it; None where not even 0 is."""

    def is_ruled_out(share: float) -> bool:
        return sums.above(share) >= boundary(sums.spread(share), chance=chance)

    low, high = 0.0, sums.wins / sums.choices  # nothing is above its own share
    if not is_ruled_out(low):
        return None
    for _halving in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_ruled_out(middle) else (low, middle)
    return low
