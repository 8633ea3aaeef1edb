"""Axes in the house's look: white card, units on both axes, lines told apart by dash and marker too.

Knows matplotlib only; knows nothing of runs.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONG = 36  # letters: more than stand along the height at the usual size
COLOURS = ("#2a86c7", "#7a3b00", "#0b6e4f", "#b5478b", "#b8860b")
BASELINE = "#1d2124"
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
SIZE = (5.4, 3.2)  # inches: beside another on a page, the letters keep about their size in points
MARKERS = ("o", "s", "^", "D", "v")


def axes(*, x_label: str, y_label: str) -> tuple["Figure", "Axes"]:
    """An empty figure with labelled axes."""
    from matplotlib.figure import Figure  # noqa: PLC0415 -- matplotlib stays out of the web until a figure is drawn

    figure = Figure(figsize=SIZE, layout="constrained")
    area = figure.subplots()
    area.set_xlabel(x_label)
    area.set_ylabel(y_label, fontsize=10 if len(y_label) < LONG else 8)
    area.grid(visible=True, alpha=0.25)
    for side in ("top", "right"):
        area.spines[side].set_visible(False)
    return figure, area


def line(area: "Axes", *, x: Sequence[float], y: Sequence[float], name: str, index: int) -> None:
    """One series; its name stands at its end, so that colour is never the only key."""
    if not x:
        return
    has_markers = len(x) <= 40
    area.plot(
        x, y, color=COLOURS[index % 5], linestyle=DASHES[index % 5], linewidth=1.4,
        marker=MARKERS[index % 5] if has_markers else "", markersize=3.5, label=f"{name} (n = {len(x)})",
    )  # fmt: skip
    area.annotate(
        f" {name}", (x[-1], y[-1]), color=COLOURS[index % 5], fontsize=8, va="center",
        xytext=(3, 0), textcoords="offset points",
    )  # fmt: skip


def histogram(
    area: "Axes",
    parts: Mapping[str, Sequence[int]],
    *,
    low: float,
    high: float,
    is_share: bool = False,
) -> None:
    """Counts of each part over the same bins from `low` to `high`, or their shares of it, with n in the legend."""
    for index, (name, counts) in enumerate(parts.items()):
        total = sum(counts)
        edges = [low + (high - low) * place / len(counts) for place in range(len(counts) + 1)]
        area.stairs(
            [count / total for count in counts] if is_share else counts, edges, linewidth=1.5,
            color=COLOURS[index % 5], linestyle=DASHES[index % 5],
            label=f"{name} (n = {total:,})" if name else f"n = {total:,}",
        )  # fmt: skip


def intervals(
    area: "Axes",
    *,
    x: Sequence[float],
    shares: Sequence[dict[str, Any]],
    name: str,
    index: int = 0,
    with_n: bool = True,
) -> None:
    """Points with their intervals; n stands above each unless it is said once elsewhere."""
    values = [float(each["value"]) for each in shares]
    below = [
        max(0.0, value - float(each["low"])) for value, each in zip(values, shares, strict=True)
    ]
    above = [
        max(0.0, float(each["high"]) - value) for value, each in zip(values, shares, strict=True)
    ]
    area.errorbar(
        x, values, yerr=[below, above], fmt=MARKERS[index], color=COLOURS[index], capsize=3,
        markersize=5, linewidth=1.2, label=name,
    )  # fmt: skip
    for where, each in zip(x, shares, strict=True) if with_n else ():
        area.annotate(
            f"n={each['n']:,}", (where, float(each["high"])), fontsize=7, ha="center", va="bottom",
            color=BASELINE, xytext=(0, 2), textcoords="offset points",
        )  # fmt: skip
