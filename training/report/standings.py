"""The leaderboard's dots and intervals as coordinates for an inline SVG.

Pure arithmetic over standings; knows no template.
"""

from dataclasses import dataclass
from typing import Any

WIDTH, ROW, MARGIN = 640, 28, 12
NAMES = 170  # room for the names, left of the dots
LONGEST_NAME = 26


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One deployment's line: centre, interval ends and baseline in SVG units."""

    name: str
    x: float
    low: float | None  # None: no interval is known
    high: float | None
    y: float
    text_y: float


@dataclass(frozen=True, kw_only=True)
class Dots:
    """The whole picture with its ticks (position, Elo)."""

    width: int
    height: int
    bottom: int
    tick_y: int
    rows: tuple[Dot, ...]
    ticks: tuple[tuple[float, int], ...]


def dots(board: Any) -> Dots | None:
    """Coordinates of every row of a leaderboard that has bounds; None when there is nothing to draw."""
    bounded = [row for row in board.rows if row.standing.is_bounded]
    if not bounded:
        return None
    standings = [row.standing for row in bounded]
    elos = [each.elo for each in standings]
    ends = [end for each in standings for end in (each.low, each.high) if end is not None]
    lowest: float = min(-50.0, *elos, *ends)
    highest: float = max(50.0, *elos, *ends)
    scale: float = (WIDTH - NAMES - 2 * MARGIN) / (highest - lowest)

    def place(elo: float) -> float:
        return round(NAMES + MARGIN + (elo - lowest) * scale, 1)

    rows = tuple(
        Dot(
            name=_short(row.deployment.name),
            x=place(row.standing.elo),
            low=None if row.standing.low is None else place(row.standing.low),
            high=None if row.standing.high is None else place(row.standing.high),
            y=ROW * (index + 0.5),
            text_y=ROW * (index + 0.5) + 4,
        )
        for index, row in enumerate(bounded)
    )
    step = next(
        (each for each in (50, 100, 200, 500, 1000) if (highest - lowest) / each <= 7), 2000
    )
    first = int(lowest // step + 1) * step
    ticks = tuple((place(elo), elo) for elo in range(first, int(highest) + 1, step))
    bottom = ROW * len(rows)
    return Dots(
        width=WIDTH, height=bottom + 20, bottom=bottom, tick_y=bottom + 15, rows=rows, ticks=ticks
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
