"""Draw metrics rows as an SVG line plot, redrawable from the files at any time.

It does not know what the numbers mean beyond their labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw_curve(
    rows: Sequence[Mapping[str, Any]],
    *,
    path: Path,
    series: Mapping[str, str],
    y_label: str,
    x_label: str = "optimizer step",
    x: str = "step",
) -> None:
    """One line per metric name in `series` (name -> label), over the rows that have it."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in series.items():
        points = [(row[x], row[name]) for row in rows if name in row and x in row]
        if points:
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, label=f"{label} (n = {len(points)})", linewidth=1.2)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
