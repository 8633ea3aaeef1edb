"""Intervals for shares and means: what stands beside every number that is reported.

It does not know what was measured.
"""

import math
import random
from collections.abc import Mapping, Sequence

from comparisons.core.agreement import Z_95, wilson_interval


def share(correct: Sequence[float]) -> dict[str, float | int]:
    """A share with its interval and n, as status.json and evaluation.json hold it."""
    n = len(correct)
    low, high = wilson_interval(sum(correct), n)
    return {"value": sum(correct) / n if n else 0.0, "low": low, "high": high, "n": n}


def mean(values: Sequence[float]) -> dict[str, float | int]:
    """A mean with its normal 95 % interval and n."""
    n = len(values)
    centre = sum(values) / n
    spread = math.sqrt(sum((value - centre) ** 2 for value in values) / max(n - 1, 1))
    half = Z_95 * spread / math.sqrt(n)
    return {"value": centre, "low": centre - half, "high": centre + half, "n": n}


def mean_by(names: Sequence[str], values: Sequence[float]) -> dict[str, dict[str, float | int]]:
    """The mean of each name's values, with its interval and n."""
    parts: dict[str, list[float]] = {}
    for name, value in zip(names, values, strict=True):
        parts.setdefault(name, []).append(value)
    return {name: mean(part) for name, part in sorted(parts.items())}


def clustered_share(
    correct: Mapping[str, Sequence[float]], *, samples: int, seed: int
) -> dict[str, float | int]:
    """A share with the percentile interval of a bootstrap over clusters (conversations)."""
    clusters = [(sum(each), len(each)) for each in correct.values()]
    n = sum(size for _, size in clusters)
    rng = random.Random(seed)
    draws = []
    for _ in range(samples):
        picked = rng.choices(clusters, k=len(clusters))
        draws.append(sum(hits for hits, _ in picked) / sum(size for _, size in picked))
    low, high = percentile_interval(draws)
    return {
        "value": sum(hits for hits, _ in clusters) / n,
        "low": low,
        "high": high,
        "n": n,
        "clusters": len(clusters),
    }


def percentile_interval(draws: Sequence[float]) -> tuple[float, float]:
    """95 % of a bootstrap's draws lie between these two."""
    ordered, samples = sorted(draws), len(draws)
    return ordered[int(0.025 * samples)], ordered[min(int(0.975 * samples), samples - 1)]
