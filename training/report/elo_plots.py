"""The crowd's Elo of several models beside what a preference model's scores predict of it.

Pure; reads evaluation.json, knows no fit.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.report import recorded
from training.report.drawing import BASELINE, COLOURS, DASHES, MARKERS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = {  # key of evaluation.json -> words
    "naive": "PM on held-out prompts × 174",
    "scores": "PM on what people saw × 174",
    "picks": "the PM's picks",
    "crowd": "the crowd's picks",
}
APART = 0.09  # between the four points of one model
SHORT = 8  # of a hash


def elo(directory: Path) -> "Figure | None":
    """Four curves over the models of each objective, weakest first, 0 at each objective's anchor."""
    parts = (recorded.evaluation(directory).get("elo") or {}).get("by_objective")
    if not parts:
        return None
    figure, area = axes(
        x_label="model, objective, choices of the crowd", y_label="Elo, 0 at the anchor"
    )
    names: list[str] = []
    for objective, part in parts.items():
        _objective(area, models=part["models"][::-1], start=len(names), is_named=not names)
        names += [_name(each, part=part, objective=objective) for each in part["models"][::-1]]
    area.axhline(0, color=BASELINE, linestyle=":", linewidth=1)
    area.set_xticks(range(len(names)), names, fontsize=8)
    area.set_xlim(-0.5, len(names) - 0.5)
    area.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def _name(model: dict[str, Any], *, part: dict[str, Any], objective: str) -> str:
    lines = [model["model"][:SHORT], objective, f"n={model['crowd']['n']:,}"]
    return "\n".join([*lines, "anchor"] if model["model"] == part["anchor"] else lines)


def _is_measured(point: dict[str, Any] | None) -> bool:
    """Who never lost or never won has no Elo but the prior's."""
    return point is not None and bool(point.get("is_bounded", True))


def _reach(point: dict[str, Any], *, to: str) -> float:
    """How far an interval reaches from its value; not a number where there is none: no whisker is drawn."""
    end = point[to]
    return math.nan if end is None else max(0.0, abs(float(end) - float(point["value"])))


def _objective(area: "Axes", *, models: list[dict[str, Any]], start: int, is_named: bool) -> None:
    for index, (key, words) in enumerate(CURVES.items()):
        found = [
            (place, each[key])
            for place, each in enumerate(models, start)
            if _is_measured(each[key])
        ]
        if not found:
            continue
        values = [float(each["value"]) for _, each in found]
        area.errorbar(
            [place + (index - 1.5) * APART for place, _ in found], values,
            yerr=[
                [_reach(each, to="low") for _, each in found],
                [_reach(each, to="high") for _, each in found],
            ],
            marker=MARKERS[index], color=COLOURS[index], linestyle=DASHES[index], linewidth=1,
            elinewidth=1.2, capsize=3, markersize=5, label=words if is_named else None,
        )  # fmt: skip
