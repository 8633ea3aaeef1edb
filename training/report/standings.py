"""The leaderboard's dots and intervals as coordinates for an inline SVG.

Pure arithmetic over standings; knows no template.
"""

from dataclasses import dataclass
from typing import Any

WIDTH, ROW, MARGIN = 420, 28, 12


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One deployment's line: centre, interval ends and baseline in SVG units."""

    name: str
    x: float
    low: float
    high: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Dots:
    """The whole picture with its ticks (position, Elo)."""

    width: int
    height: int
    rows: tuple[Dot, ...]
    ticks: tuple[tuple[float, int], ...]


def dots(board: Any) -> Dots | None:
    """Coordinates of every row of a leaderboard; None when there is nothing to draw."""
    if not board.rows:
        return None
    standings = [row.standing for row in board.rows]
    lowest = min(-50.0, *(each.low for each in standings))
    highest = max(50.0, *(each.high for each in standings))
    scale = (WIDTH - 2 * MARGIN) / (highest - lowest)

    def place(elo: float) -> float:
        return round(MARGIN + (elo - lowest) * scale, 1)

    rows = tuple(
        Dot(
            name=row.deployment.name,
            x=place(row.standing.elo),
            low=place(row.standing.low),
            high=place(row.standing.high),
            y=ROW * (index + 0.5),
        )
        for index, row in enumerate(board.rows)
    )
    step = next(
        (each for each in (50, 100, 200, 500, 1000) if (highest - lowest) / each <= 7), 2000
    )
    first = int(lowest // step + 1) * step
    ticks = tuple((place(elo), elo) for elo in range(first, int(highest) + 1, step))
    return Dots(width=WIDTH, height=ROW * len(rows) + 20, rows=rows, ticks=ticks)
