"""How well a score tells two groups apart: the area under the ROC curve.

It does not know what is scored.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.core.evaluation.intervals import percentile_interval

Counts = NDArray[np.float64]


def auroc(*, outside: Sequence[float], inside: Sequence[float]) -> float:
    """The chance that a random one of `outside` scores above a random one of `inside`; a tie counts ½."""
    ranked = _Ranked(outside=outside, inside=inside)
    return ranked.area(*ranked.counts())


def auroc_with_interval(
    *, outside: Sequence[float], inside: Sequence[float], samples: int, seed: int
) -> dict[str, float | int]:
    """The same with the percentile interval of a bootstrap of both groups; n counts both."""
    ranked = _Ranked(outside=outside, inside=inside)
    rng = np.random.default_rng(seed)
    draws = [ranked.area(*ranked.drawn(rng)) for _ in range(samples)]
    low, high = percentile_interval(draws)
    value = ranked.area(*ranked.counts())
    return {"value": value, "low": low, "high": high, "n": len(outside) + len(inside)}


class _Ranked:
    """Two groups sorted into the same ranks once, so that a draw of them needs no sorting."""

    def __init__(self, *, outside: Sequence[float], inside: Sequence[float]) -> None:
        values, ranks = np.unique(np.concatenate([outside, inside]), return_inverse=True)
        self._ranks = len(values)
        self._outside, self._inside = ranks[: len(outside)], ranks[len(outside) :]

    def counts(self) -> tuple[Counts, Counts]:
        """How many of each group have each rank."""
        return self._count(self._outside), self._count(self._inside)

    def drawn(self, rng: np.random.Generator) -> tuple[Counts, Counts]:
        """The same of as many members, drawn with replacement."""
        outside, inside = (rng.choice(each, len(each)) for each in (self._outside, self._inside))
        return self._count(outside), self._count(inside)

    def area(self, outside: Counts, inside: Counts) -> float:
        """Share of pairs in which `outside` ranks higher (Mann and Whitney 1947)."""
        below = np.cumsum(inside) - inside / 2
        return float(outside @ below / (outside.sum() * inside.sum()))

    def _count(self, ranks: NDArray[np.int64]) -> Counts:
        return np.bincount(ranks, minlength=self._ranks).astype(np.float64)
