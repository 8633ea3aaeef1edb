"""Figures of how a run went: loss, accuracy, PM score, KL, by step or by samples.

Pure; reads metrics rows, knows no evaluation.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.report import recorded
from training.report.drawing import BASELINE, COLOURS, axes, line
from training.report.series import linear_fit, pairs, series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
_LEARNING = (  # y label, (metric, words); the set whose first metric was recorded is drawn
    ("loss (nats per comparison) · accuracy (share)", (
        ("pm/loss", "loss"), ("pm/accuracy", "accuracy"), ("pm/test_accuracy", "test accuracy"))),
    ("loss (nats per token)", (("lm/loss", "training"), ("held_out/", "held out: "))),
    ("KL from the prompted model (nats per token)", (
        ("distillation/kl", "training"), ("held_out/kl", "held out"))),
)  # fmt: skip


def learning(directory: Path) -> "Figure | None":
    """Loss and accuracy by optimizer step."""
    rows = recorded.metrics(directory)
    for label, metrics in _LEARNING:
        if not series(rows, metrics[0][0])[1]:
            continue
        figure, area = axes(x_label="optimizer step", y_label=label)
        for index, (name, words) in enumerate(_spread(rows, metrics)):
            steps, values = series(rows, name)
            line(area, x=steps, y=values, name=words, index=index)
        area.legend(fontsize=8, frameon=False)
        return figure
    return None


def _spread(rows: Rows, metrics: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """A name that ends with a slash or an underscore stands for every metric that begins so."""
    recorded_names = dict.fromkeys(name for row in rows for name in row)
    spread: list[tuple[str, str]] = []
    for metric, words in metrics:
        if metric.endswith(("/", "_")):
            names = [name for name in recorded_names if name.startswith(metric)]
            spread.extend((name, words + name.removeprefix(metric)) for name in names)
        else:
            spread.append((metric, words))
    return spread


def ppo_score(directory: Path) -> "Figure | None":
    """PM score by RL samples: training prompts, held-out prompts, and the held-out PM."""
    metrics = (
        ("objective/score", "training prompts"),
        ("held_out/score", "held-out prompts"),
        ("objective/test_pm_score", "training prompts, test PM"),
        ("held_out/test_pm_score", "held-out prompts, test PM"),
    )
    return _by_samples(recorded.metrics(directory), metrics=metrics, y_label="mean PM score")


def ppo_kl(directory: Path) -> "Figure | None":
    """KL from the start by RL samples, by two estimators."""
    metrics = (("objective/kl", "k1"), ("objective/kl_k3", "k3"))
    return _by_samples(
        recorded.metrics(directory),
        metrics=metrics,
        y_label="KL from the start (nats per response)",
    )


def ppo_likelihoods(directory: Path) -> "Figure | None":
    """Share of held-out comparisons whose chosen response is likelier per token, by RL samples and objective."""
    rows = recorded.metrics(directory)
    return _by_samples(
        rows,
        metrics=tuple(_spread(rows, (("held_out/logprob_accuracy_", ""),))),
        y_label="share of comparisons, by likelihood",
    )


def ppo_sqrt_kl(directory: Path) -> "Figure | None":
    """PM score against √KL with a least-squares line: straight early, it bends with over-optimisation."""
    x, y = pairs(recorded.metrics(directory), x="objective/sqrt_kl", y="objective/score")
    if not x:
        return None
    figure, area = axes(
        x_label="√KL from the start (√nats)", y_label="mean PM score, training prompts"
    )
    area.plot(
        x, y, linestyle="", marker="o", markersize=4, color=COLOURS[0], label=f"step (n = {len(x)})"
    )
    fit = linear_fit(x, y)
    if fit is not None:
        slope, intercept, determination = fit
        ends = [min(x), max(x)]
        area.plot(
            ends, [slope * each + intercept for each in ends], color=BASELINE, linestyle="--", linewidth=1.2,
            label=f"{intercept:.2f} + {slope:.2f}·√KL, R² = {determination:.2f}",
        )  # fmt: skip
    area.legend(fontsize=8, frameon=False)
    return figure


def _by_samples(
    rows: Rows, *, metrics: tuple[tuple[str, str], ...], y_label: str
) -> "Figure | None":
    per_step = next(
        (
            row["ppo/samples"] / row["step"]
            for row in rows
            if row.get("ppo/samples") and row["step"]
        ),
        1,
    )
    figure, area = axes(x_label="RL samples", y_label=y_label)
    for index, (name, words) in enumerate(metrics):
        steps, values = series(rows, name)
        line(area, x=[step * per_step for step in steps], y=values, name=words, index=index)
    if not area.lines:
        return None
    area.legend(fontsize=8, frameon=False)
    return figure
