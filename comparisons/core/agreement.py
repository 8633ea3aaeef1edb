"""How far people agree, and how surprising a habit is: intervals and n with every value.

Pure arithmetic; knows nothing of people, sides or responses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["nominal", "ordinal"]
Unit = Sequence[int]  # one thing judged by several people: a value each, 0-based

Z_95 = 1.959963984540054
FEWEST_UNITS = 10  # fewer say next to nothing of how far units differ


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval and n; or the reason why there is no value or no interval."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""  # empty where there are both


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion; (0, 1) for n = 0. Ties may count as halves."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    z2 = Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def proportion(successes: int, n: int, *, reason: str = "nothing counted yet") -> Estimate:
    """A share of n with Wilson's interval."""
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0, reason=reason)
    low, high = wilson_interval(successes, n)
    return Estimate(value=successes / n, low=low, high=high, n=n)


def coin_probability(successes: int, n: int) -> float:
    """How likely a fair coin is at least this far from half in n throws (two-sided, exact)."""
    distance = abs(2 * successes - n)
    if distance == 0:
        return 1.0
    most = (n + distance) // 2
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(most, n + 1)
    ]
    return min(1.0, 2.0 * sum(math.exp(each) for each in logs))


def raw_agreement(units: Sequence[Unit]) -> Estimate:
    """Share of pairs of judgements of the same thing that are equal."""
    agreeing = pairs = 0
    for unit in units:
        counts = np.bincount(unit) if len(unit) else np.zeros(1, dtype=int)
        pairs += len(unit) * (len(unit) - 1) // 2
        agreeing += int((counts * (counts - 1) // 2).sum())
    return proportion(agreeing, pairs, reason="nothing was judged twice yet")


def alpha_estimate(
    units: Sequence[Unit], *, metric: Metric, levels: int, samples: int = 500, seed: int = 0
) -> Estimate:
    """Alpha with a bootstrap interval over units."""
    usable = [unit for unit in units if len(unit) > 1]
    n = len(usable)
    if not n:
        return Estimate(value=None, low=None, high=None, n=0, reason="nothing was judged twice yet")
    each = np.stack([_coincidences(unit, levels) for unit in usable])  # (n, levels, levels)
    value = _alpha(each.sum(axis=0), distances=metric)
    if value is None:
        reason = f"undefined: all {n} second judgements and their firsts are the same value"
        return Estimate(value=None, low=None, high=None, n=n, reason=reason)
    if n < FEWEST_UNITS:
        reason = f"no interval: {n} judged twice, {FEWEST_UNITS} needed"
        return Estimate(value=value, low=None, high=None, n=n, reason=reason)
    rng = np.random.default_rng(seed)
    draws = []
    for _sample in range(samples):
        weights = np.bincount(rng.integers(0, n, size=n), minlength=n)
        drawn = _alpha(np.tensordot(weights, each, axes=1), distances=metric)
        if drawn is not None:
            draws.append(drawn)
    low, high = np.percentile(draws, [2.5, 97.5]) if draws else (value, value)
    return Estimate(value=value, low=float(low), high=float(high), n=n)


def _coincidences(unit: Unit, levels: int) -> NDArray[np.float64]:
    """Ordered pairs of values within a unit, each weighted 1 / (values - 1)."""
    counts = np.bincount(unit, minlength=levels).astype(np.float64)
    return (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)


def _alpha(coincidences: NDArray[np.float64], *, distances: Metric) -> float | None:
    totals = coincidences.sum(axis=1)
    n = float(totals.sum())
    delta = _squared_distances(totals, metric=distances)
    expected = float((np.outer(totals, totals) * delta).sum()) / (n - 1)
    if expected == 0.0:
        return None
    observed = float((coincidences * delta).sum())
    return 1.0 - observed / expected


def _squared_distances(totals: NDArray[np.float64], *, metric: Metric) -> NDArray[np.float64]:
    levels = len(totals)
    if metric == "nominal":
        return 1.0 - np.eye(levels)
    up_to = np.concatenate([[0.0], np.cumsum(totals)])
    delta = np.zeros((levels, levels))
    for low in range(levels):
        for high in range(low + 1, levels):
            between = up_to[high + 1] - up_to[low] - (totals[low] + totals[high]) / 2
            delta[low, high] = delta[high, low] = between**2
    return delta
