"""Figures of how multiple-choice questions were answered.

Pure; reads evaluation.json, knows no training.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.report import recorded
from training.report.drawing import BASELINE, axes, histogram, intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMES = 20  # below the axis; more would run into each other


def by_category(directory: Path) -> "Figure | None":
    """Share right by category; of a language model also by its mean log-probability per token."""
    found = recorded.evaluation(directory)
    parts: dict[str, dict[str, Any]] = found.get("by_category") or {}
    if not parts:
        return None
    names = sorted(parts, key=lambda name: -parts[name]["n"])[:MOST_NAMES]
    figure, area = axes(x_label="category", y_label="share of questions right")
    ways = {"score" if "margins" in found else "log-probability of the reply": parts}
    if "per_token" in found:
        ways["the same per token"] = found["per_token"]["by_category"]
    for index, (way, shares) in enumerate(ways.items()):
        beside = 0.2 * index - 0.1 * (len(ways) - 1)
        intervals(
            area, x=[place + beside for place in range(len(names))], shares=[shares[name] for name in names],
            name=f"highest {way}" if not index else way, index=index, with_n=not index,
        )  # fmt: skip
    area.axhline(found["chance"], color=BASELINE, linestyle=":", linewidth=1, label="chance")
    tilt = 30 if len(names) > 6 else 0
    area.set_xticks(range(len(names)), names, rotation=tilt, parse_math=False)
    area.set_xlim(-0.5, len(names) - 0.5)
    area.set_ylim(0, 1.08)
    area.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def margins(directory: Path) -> "Figure | None":
    """How far the right reply's score lies above the best other's."""
    found = recorded.evaluation(directory).get("margins")
    if not found:
        return None
    figure, area = axes(x_label="PM(right) − PM(best other), nats", y_label="questions")
    histogram(area, {"": found["counts"]}, low=found["low"], high=found["high"])
    area.axvline(
        0,
        color=BASELINE,
        linestyle=":",
        linewidth=1,
        label="a tie: wrong to its left, right to its right",
    )
    area.legend(fontsize=8, frameon=False)
    return figure
