"""Percentiles of seconds, and the table and the line of JSON that tell them.

Pure; knows nothing of who measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

PERCENTILES = (50, 95, 99)


def percentile(values: Sequence[float], share: int) -> float:
    """The value that `share` percent of the values do not pass; 0 when there are none."""
    ordered = sorted(values)
    place = -(-len(ordered) * share // 100) - 1  # nearest rank
    return ordered[max(0, place)] if ordered else 0.0


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    return {f"p{share}": round(1000 * percentile(seconds, share), 1) for share in PERCENTILES}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each database and number of clients."""
    head = (
        "database    clients  choices/s   submit p50   p95   p99 ms   next item p50   p95   p99 ms"
        "   given twice  missing"
    )
    return "\n".join([head, *(_line(row) for row in rows)])


def _line(row: Mapping[str, Any]) -> str:
    submit, following = row["submit_ms"], row["next_item_ms"]
    return (
        f"{row['database']:<11}{row['clients']:>8}{row['choices_per_second']:>12.1f}"
        f"{submit['p50']:>13.1f}{submit['p95']:>7.1f}{submit['p99']:>7.1f}"
        f"{following['p50']:>17.1f}{following['p95']:>7.1f}{following['p99']:>7.1f}"
        f"{row['given_twice']:>14}{row['missing']:>9}"
    )
