"""Metrics rows as series: one name, its steps and values.

Pure; knows neither files nor figures.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any


def series(rows: Iterable[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Steps and finite values of one metric, in the order they were written."""
    steps: list[int] = []
    values: list[float] = []
    for row in rows:
        value = row.get(name)
        if value is not None and _is_number(value):
            steps.append(int(row["step"]))
            values.append(float(value))
    return steps, values


def linear_fit(x: list[float], y: list[float]) -> tuple[float, float, float] | None:
    """Slope, intercept and R² of a least-squares line; None for fewer than three points."""
    if len(x) < 3 or len(set(x)) < 2:
        return None
    slope, intercept = statistics.linear_regression(x, y)
    explained = statistics.correlation(x, y) ** 2 if len(set(y)) > 1 else 1.0
    return slope, intercept, explained


def pairs(rows: Iterable[Mapping[str, Any]], *, x: str, y: str) -> tuple[list[float], list[float]]:
    """Two metrics of the same rows, where both are finite numbers."""
    found = [(row[x], row[y]) for row in rows if _is_number(row.get(x)) and _is_number(row.get(y))]
    return [float(a) for a, _ in found], [float(b) for _, b in found]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
