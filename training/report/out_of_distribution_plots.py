"""Figures of how well harmful requests are told from helpful ones by a model's activations.

Pure; reads evaluation.json, knows no training.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.report import recorded
from training.report.drawing import BASELINE, axes, histogram, intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TICKS = 16
AREA = "AUROC, harmless against helpful prompts"


def auroc_by_layer(directory: Path) -> "Figure | None":
    """AUROC by layer of the plain and of the relative distance."""
    layers: list[dict[str, Any]] = recorded.evaluation(directory).get("auroc_by_layer") or []
    if not layers:
        return None
    figure, area = axes(x_label="layer", y_label=AREA)
    scores = (("relative", "relative Mahalanobis"), ("mahalanobis", "Mahalanobis"))
    for index, (key, name) in enumerate(scores):
        beside = 0.16 * index - 0.08  # intervals at the same height would hide each other
        intervals(
            area, x=[each["layer"] + beside for each in layers], shares=[each[key] for each in layers],
            name=name, index=index, with_n=False,
        )  # fmt: skip
    if len(layers) <= MOST_TICKS:
        area.set_xticks([each["layer"] for each in layers])
    _with_chance(area, n=f"n = {layers[0]['relative']['n']:,} prompts")
    return figure


def auroc_by_outliers(directory: Path) -> "Figure | None":
    """AUROC of the classifier by how many outliers it was trained with."""
    evaluation = recorded.evaluation(directory)
    points: list[dict[str, Any]] = evaluation.get("auroc_by_outliers") or []
    if not points:
        return None
    figure, area = axes(x_label="harmful prompts trained with", y_label=AREA)
    area.set_xscale("log")
    x = [float(each["outliers"]) for each in points]
    name = f"linear classifier on layer {evaluation['exposed_layer']}"
    intervals(area, x=x, shares=[each["auroc"] for each in points], name=name, with_n=False)
    area.set_xticks(x, [f"{each['outliers']:,}" for each in points])
    area.minorticks_off()
    _with_chance(area, n=f"lowest to highest of {points[0]['auroc']['n']} draws")
    return figure


def relative_scores(directory: Path) -> "Figure | None":
    """Relative scores of helpful and harmless prompts at the best layer, over the same bins."""
    found = recorded.evaluation(directory).get("relative_scores")
    if not found:
        return None
    figure, area = axes(
        x_label=f"relative Mahalanobis distance, layer {found['layer']}", y_label="share of prompts"
    )
    parts = {part: found[part] for part in ("helpful", "harmless")}
    histogram(area, parts, low=found["low"], high=found["high"], is_share=True)
    area.legend(fontsize=8, frameon=False)
    return figure


def _with_chance(area: "Axes", *, n: str) -> None:
    area.axhline(0.5, color=BASELINE, linestyle=":", linewidth=1, label="chance")
    area.set_ylim(min(0.4, area.get_ylim()[0]), 1.02)
    area.legend(fontsize=8, frameon=False, loc="upper left", title=n, title_fontsize=8)
