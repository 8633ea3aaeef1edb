"""Small charts of the administrators' pages as plain shapes: templates write them, CSS colours them.

Knows numbers and pixels; knows nothing of what is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.queries.dashboard import DayCount

SPARK_WIDTH, SPARK_HEIGHT = 112, 24
CHART_WIDTH, CHART_HEIGHT, BOTTOM = 560, 120, 2


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    series: int  # 1..6: which chart colour
    label: str


@dataclass(frozen=True, kw_only=True)
class DayChart:
    """Stacked bars over days, with its scale."""

    bars: tuple[Bar, ...]
    highest: int  # of a day: what the full height stands for
    first: str
    last: str


def spark(values: Sequence[int]) -> str:
    """Points of a line over the values, from 0 to the largest."""
    top = max(values, default=0) or 1
    step = SPARK_WIDTH / max(1, len(values) - 1)
    return " ".join(
        f"{i * step:.1f},{SPARK_HEIGHT - 2 - value / top * (SPARK_HEIGHT - 4):.1f}"
        for i, value in enumerate(values)
    )


def day_chart(days: Sequence[DayCount]) -> DayChart:
    """A bar per day, its tranches on top of each other."""
    highest = max((day.total for day in days), default=0)
    top = highest or 1
    width = CHART_WIDTH / max(1, len(days))
    room = CHART_HEIGHT - BOTTOM
    bars = []
    for i, day in enumerate(days):
        floor = float(room)
        for series, (tranche, count) in enumerate(day.counts.items(), 1):
            height = count / top * room
            floor -= height
            if count:
                bars.append(
                    Bar(
                        x=round(i * width + 2, 1), y=round(floor, 1), width=round(width - 4, 1),
                        height=round(height, 1), series=series,
                        label=f"{day.day:%d %b}: {count} {tranche}",
                    )
                )  # fmt: skip
    return DayChart(
        bars=tuple(bars), highest=highest,
        first=f"{days[0].day:%d %b}" if days else "", last=f"{days[-1].day:%d %b}" if days else "",
    )  # fmt: skip
