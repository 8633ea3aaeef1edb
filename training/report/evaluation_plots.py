"""Figures of what a preference model gets right, each with n and 95 % intervals.

Pure; reads evaluation.json, knows no training.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.report import recorded
from training.report.accuracies import turn_name
from training.report.drawing import BASELINE, axes, histogram, intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HALF = 0.5  # what a coin gets right


def calibration(directory: Path) -> "Figure | None":
    """Accuracy by |Δ| beside what the scores promise."""
    bins = recorded.evaluation(directory).get("calibration")
    if not bins:
        return None
    figure, area = axes(x_label="score difference |Δ| (nats)", y_label="share of comparisons right")
    far = max(float(each["mean_margin"]) for each in bins) * 1.1
    promised = [far * index / 60 for index in range(61)]
    area.plot(
        promised, [1 / (1 + math.exp(-each)) for each in promised], color=BASELINE, linestyle="--",
        linewidth=1.2, label="1/(1+e^−Δ)",
    )  # fmt: skip
    intervals(
        area, x=[float(each["mean_margin"]) for each in bins], shares=[each["accuracy"] for each in bins],
        name="test split, mean Δ of each bin",
    )  # fmt: skip
    area.set_ylim(0, 1.08)
    area.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def by_threshold(directory: Path) -> "Figure | None":
    """Accuracy by the threshold that both scores reach."""
    points = recorded.evaluation(directory).get("by_threshold")
    if not points:
        return None
    figure, area = axes(
        x_label="threshold of both scores (nats above the mean score)",
        y_label="share of comparisons right",
    )
    intervals(
        area, x=[float(each["threshold"]) for each in points], shares=[each["accuracy"] for each in points],
        name="test split, both scores at or above",
    )  # fmt: skip
    area.axhline(HALF, color=BASELINE, linestyle=":", linewidth=1, label="chance")
    area.set_ylim(0, 1.08)
    area.legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def by_turn(directory: Path) -> "Figure | None":
    """Accuracy by turn."""
    return _parts(directory, key="by_turn", x_label="turn of the dialogue", named=turn_name)


def by_objective(directory: Path) -> "Figure | None":
    """Accuracy by objective."""
    return _parts(directory, key="by_objective", x_label="objective")


def by_tranche(directory: Path) -> "Figure | None":
    """Accuracy by tranche."""
    return _parts(directory, key="by_tranche", x_label="tranche")


def scores(directory: Path) -> "Figure | None":
    """Histograms of chosen and rejected scores over the same bins."""
    found = recorded.evaluation(directory).get("histogram")
    if not found:
        return None
    figure, area = axes(x_label="PM score (nats)", y_label="responses")
    sides = {side: found[side] for side in ("chosen", "rejected")}
    histogram(area, sides, low=found["low"], high=found["high"])
    area.legend(fontsize=8, frameon=False)
    return figure


def scores_by_tranche(directory: Path) -> "Figure | None":
    """Shares of each tranche's scores over the same bins."""
    found = recorded.evaluation(directory).get("scores_by_tranche")
    if not found:
        return None
    figure, area = axes(x_label="PM score (nats)", y_label="share of the tranche's responses")
    tranches = dict(sorted(found["tranches"].items()))
    histogram(area, tranches, low=found["low"], high=found["high"], is_share=True)
    area.legend(fontsize=8, frameon=False)
    return figure


def by_k(directory: Path) -> "Figure | None":
    """Mean score of the best of k against √log k, to which it is nearly linear (paper §4.3)."""
    points = recorded.evaluation(directory).get("best_of_k")
    if not points:
        return None
    figure, area = axes(
        x_label="√log k (k samples per prompt)", y_label="mean PM score of the best"
    )
    x = [float(each["sqrt_log_k"]) for each in points]
    intervals(area, x=x, shares=[each["score"] for each in points], name="best of k")
    area.set_xticks(x, [f"k={each['k']}" for each in points])
    return figure


def _parts(
    directory: Path, *, key: str, x_label: str, named: Callable[[str], str] = str
) -> "Figure | None":
    found: dict[str, dict[str, Any]] = recorded.evaluation(directory).get(key) or {}
    if not found:
        return None
    figure, area = axes(x_label=x_label, y_label="share of comparisons right")
    intervals(area, x=list(range(len(found))), shares=list(found.values()), name="test split")
    area.axhline(HALF, color=BASELINE, linestyle=":", linewidth=1, label="chance")
    area.set_xticks(range(len(found)), [named(each) for each in found])
    area.set_xlim(-0.5, len(found) - 0.5)
    area.set_ylim(0, 1.08)
    area.legend(fontsize=8, frameon=False, loc="lower right")
    return figure
