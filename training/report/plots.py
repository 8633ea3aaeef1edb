"""Which figures a run offers, and each of them as SVG from the run's files alone.

Pure: no database. Matplotlib is loaded only when a figure is drawn, so that pages stay light.
"""

import io
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.report import (
    elo_plots,
    evaluation_plots,
    learning_plots,
    out_of_distribution_plots,
    question_plots,
    recorded,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_one_at_a_time = threading.Lock()  # matplotlib's settings are the whole process's
Draw = Callable[[Path], "Figure | None"]

_LEARNING = (
    "learning",
    "Training by optimizer step: every point is one step, nothing is smoothed.",
)
_CALIBRATION = (
    "calibration",
    "Accuracy by score difference Δ beside 1/(1+e^−Δ), 95 % intervals (paper fig. 9).",
)
_SCORES = ("scores", "Scores of chosen and rejected responses of the test split.")
_FIGURES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "preference_model": (_LEARNING,),
    "preference_pretraining": (_LEARNING,),
    "language_model": (_LEARNING,),
    "context_distillation": (_LEARNING,),
    "ppo": (
        ("ppo-score", "PM score by samples, training prompts and held-out ones (paper fig. 4)."),
        ("ppo-kl", "KL from the start by samples (paper fig. 4)."),
        (
            "ppo-likelihoods",
            "Held-out comparisons whose chosen response the policy itself finds likelier, by samples (paper fig. 34).",
        ),
        ("ppo-sqrt-kl", "PM score against √KL with its linear fit (paper fig. 13)."),
    ),
}
_EVALUATED = {  # key in evaluation.json -> figure
    "calibration": _CALIBRATION,
    "by_threshold": (
        "by-threshold",
        "Test accuracy where both scores reach a threshold, 95 % intervals (paper fig. 25).",
    ),
    "by_turn": ("by-turn", "Test accuracy by turn of the dialogue, 95 % intervals (paper fig. 8)."),
    "by_objective": ("by-objective", "Test accuracy by objective, 95 % intervals."),
    "by_tranche": ("by-tranche", "Test accuracy by tranche, 95 % intervals."),
    "histogram": _SCORES,
    "scores_by_tranche": (
        "scores-by-tranche",
        "Scores of both responses of the test split by tranche, as shares of each (paper fig. 15).",
    ),
    "by_category": (
        "questions",
        "Share of multiple-choice questions answered right, by category, 95 % intervals (paper fig. 5).",
    ),
    "margins": (
        "question-margins",
        "PM score of the right reply minus the best other's, a count of questions (paper fig. 10).",
    ),
    "elo": (
        "elo",
        "The crowd's Elo of each model beside what the PM's scores predict, 95 % intervals (paper fig. 15).",
    ),
    "best_of_k": (
        "by-k",
        "Mean PM score of the best of k samples beside √log k, 95 % intervals (paper fig. 36).",
    ),
    "auroc_by_layer": (
        "out-of-distribution-by-layer",
        "Harmless against helpful prompts by distance from helpful ones, by layer, 95 % intervals (paper fig. 22).",
    ),
    "auroc_by_outliers": (
        "out-of-distribution-by-outliers",
        "The same by a linear classifier trained with some harmful prompts, five draws of each number (paper fig. 23).",
    ),
    "relative_scores": (
        "out-of-distribution-scores",
        "Relative distances of the test prompts at the best layer; the outermost bins hold the tails (paper fig. 22).",
    ),
}
_DRAWN: Mapping[str, Draw] = {
    "learning": learning_plots.learning,
    "ppo-score": learning_plots.ppo_score,
    "ppo-kl": learning_plots.ppo_kl,
    "ppo-likelihoods": learning_plots.ppo_likelihoods,
    "ppo-sqrt-kl": learning_plots.ppo_sqrt_kl,
    "calibration": evaluation_plots.calibration,
    "by-threshold": evaluation_plots.by_threshold,
    "by-turn": evaluation_plots.by_turn,
    "by-objective": evaluation_plots.by_objective,
    "by-tranche": evaluation_plots.by_tranche,
    "scores": evaluation_plots.scores,
    "scores-by-tranche": evaluation_plots.scores_by_tranche,
    "by-k": evaluation_plots.by_k,
    "out-of-distribution-by-layer": out_of_distribution_plots.auroc_by_layer,
    "out-of-distribution-by-outliers": out_of_distribution_plots.auroc_by_outliers,
    "out-of-distribution-scores": out_of_distribution_plots.relative_scores,
    "questions": question_plots.by_category,
    "question-margins": question_plots.margins,
    "elo": elo_plots.elo,
}


def offered(kind: str, *, evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and caption of each figure a run of this kind has, with what it measured so far."""
    measured = [figure for key, figure in _EVALUATED.items() if evaluation.get(key)]
    return [*_FIGURES.get(kind, ()), *measured]


def draw(name: str, *, directory: Path) -> str | None:
    """The figure as SVG; None when there is no such figure, or nothing to draw yet."""
    drawn = _DRAWN.get(name)
    figure = drawn(directory) if drawn else None
    return _svg(figure) if figure is not None else None


def draw_all(kind: str, *, directory: Path) -> list[Path]:
    """Write every figure of the run into plots/, as files that can be drawn again at any time."""
    folder = directory / "plots"
    folder.mkdir(exist_ok=True)
    written = []
    for name, _ in offered(kind, evaluation=recorded.evaluation(directory)):
        svg = draw(name, directory=directory)
        if svg is not None:
            path = folder / f"{name}.svg"
            path.write_text(svg, encoding="utf-8")
            written.append(path)
    return written


def _svg(figure: "Figure") -> str:
    from matplotlib import rc_context  # noqa: PLC0415 -- matplotlib stays out of the web until a figure is drawn

    stream = io.StringIO()
    with (
        _one_at_a_time,
        rc_context({"svg.hashsalt": "labelapp"}),
    ):  # the same rows give the same bytes
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
