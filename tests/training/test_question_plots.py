"""Figures of the questions suite are drawn from evaluation.json as the suite writes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.report import plots, question_plots, recorded

SHARE = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 60}
LESS = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 60}
SCORED = {
    "headline": SHARE,
    "chance": 0.5,
    "by_category": {"honest": SHARE, "$\\bad{ & <b>$": LESS},
    "margins": {"low": -1.0, "high": 1.0, "counts": [3, 1]},
    "cut": 0,
}
LIKELIEST = {
    "headline": SHARE,
    "chance": 0.25,
    "by_category": {"all": SHARE},
    "per_token": {"headline": LESS, "chance": 0.25, "by_category": {"all": LESS}},
    "cut": 0,
}


@pytest.mark.parametrize(("found", "names", "lines"), [
    (SCORED, ["questions", "question-margins"], ["chance", "highest score"]),
    (LIKELIEST, ["questions"], ["chance", "highest log-probability of the reply", "the same per token"]),
])  # fmt: skip
def test_each_kind_of_checkpoint_has_its_figures(
    tmp_path: Path, found: dict[str, Any], names: list[str], lines: list[str]
):
    (tmp_path / "evaluation.json").write_text(json.dumps({"questions": found}))

    offered = plots.offered("evaluation", evaluation=recorded.evaluation(tmp_path))

    assert [name for name, _ in offered] == names
    assert all(plots.draw(name, directory=tmp_path) for name in names)
    figure = question_plots.by_category(tmp_path)
    assert figure is not None
    (area,) = figure.axes
    assert sorted(area.get_legend_handles_labels()[1]) == sorted(lines)
    assert area.get_ylim()[0] == 0


def test_nothing_is_drawn_of_a_run_that_asked_nothing(tmp_path: Path):
    assert question_plots.by_category(tmp_path) is None
    assert question_plots.margins(tmp_path) is None
