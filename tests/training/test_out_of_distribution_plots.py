"""Figures of an out-of-distribution suite are drawn from evaluation.json as the suite writes it."""

import json
from pathlib import Path

import pytest

from training.core.evaluation.run import POLICY_SUITES
from training.report import out_of_distribution_plots as drawn
from training.report import plots, recorded

AREA = {"value": 0.6, "low": 0.55, "high": 0.65, "n": 1312}
DRAWS = {"value": 0.7, "low": 0.6, "high": 0.8, "spread": 0.05, "n": 5}
FOUND = {
    "headline": {"relative_auroc": AREA, "layer": 2},
    "auroc_by_layer": [
        {"layer": layer, "shrinkage": 0.1, "mahalanobis": AREA, "relative": AREA}
        for layer in (1, 2, 3)
    ],
    "relative_scores": {
        "layer": 2,
        "low": -1.0,
        "high": 1.0,
        "helpful": [3, 1],
        "harmless": [1, 1],
    },
    "exposed_layer": 3,
    "auroc_by_outliers": [
        {"outliers": outliers, "copies": 20 // outliers, "auroc": DRAWS} for outliers in (1, 10)
    ],
}
NAMES = [
    "out-of-distribution-by-layer",
    "out-of-distribution-by-outliers",
    "out-of-distribution-scores",
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    assert "out_of_distribution" in POLICY_SUITES
    stored = {"response_loss": {"headline": AREA}, "out_of_distribution": FOUND}
    (tmp_path / "evaluation.json").write_text(json.dumps(stored))
    return tmp_path


def test_an_evaluation_run_offers_and_draws_the_three_figures(directory: Path):
    offered = plots.offered("evaluation", evaluation=recorded.evaluation(directory))

    assert [name for name, _ in offered] == NAMES
    svgs = {name: plots.draw(name, directory=directory) for name in NAMES}
    assert all(svg and svg.count("<svg") == 1 for svg in svgs.values())
    assert plots.draw_all("evaluation", directory=directory) == [
        directory / "plots" / f"{name}.svg" for name in NAMES
    ]


def test_figures_say_what_was_counted(directory: Path):
    figures = (drawn.auroc_by_layer, drawn.auroc_by_outliers, drawn.relative_scores)
    legends = [figure(directory).axes[0].get_legend() for figure in figures]

    assert [legend.get_title().get_text() for legend in legends[:2]] == [
        "n = 1,312 prompts",
        "lowest to highest of 5 draws",
    ]
    assert [[text.get_text() for text in legend.get_texts()] for legend in legends] == [
        ["chance", "relative Mahalanobis", "Mahalanobis"],
        ["chance", "linear classifier on layer 3"],
        ["helpful (n = 4)", "harmless (n = 2)"],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_measured_draws_nothing(tmp_path: Path, name: str):
    assert plots.draw(name, directory=tmp_path) is None
