"""Intervals for shares and means: what stands beside every number that is reported.

It does not know what was measured.
"""

import math
import random
from collections.abc import Mapping, Sequence

NORMAL_95 = 1.959963984540054


def wilson(*, successes: float, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); the whole 0..1 when nothing was counted."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, NORMAL_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def share(correct: Sequence[float]) -> dict[str, float | int]:
    """A share with its interval and n, as status.json and evaluation.json hold it."""
    n = len(correct)
    low, high = wilson(successes=sum(correct), n=n)
    return {"value": sum(correct) / n if n else 0.0, "low": low, "high": high, "n": n}


def mean(values: Sequence[float]) -> dict[str, float | int]:
    """A mean with its normal 95 % interval and n."""
    n = len(values)
    centre = sum(values) / n
    spread = math.sqrt(sum((value - centre) ** 2 for value in values) / max(n - 1, 1))
    half = NORMAL_95 * spread / math.sqrt(n)
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
