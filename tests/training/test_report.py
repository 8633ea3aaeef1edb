"""Figures are drawn from a run's files alone, with n and units, the same bytes each time.

Knows no run directory but the ones written here.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from training.core.evaluation.run import SCORER_SUITES
from training.report import learning_plots, plots, recorded
from training.report.series import linear_fit, pairs, series
from training.report.standings import dots

SHARE = {"value": 0.6, "low": 0.5, "high": 0.7, "n": 1392}
EVALUATION = {
    "calibration": [
        {"low": 0.0, "high": 0.5, "mean_margin": 0.2, "expected": 0.55, "accuracy": SHARE},
        {"low": 0.5, "high": None, "mean_margin": 0.9, "expected": 0.71, "accuracy": SHARE},
    ],
    "by_threshold": [{"threshold": -1.5, "accuracy": SHARE}, {"threshold": 0.5, "accuracy": SHARE}],
    "by_turn": {"0": SHARE, "1": SHARE, "6+": SHARE},
    "by_objective": {"helpful": SHARE},
    "by_tranche": {"base": SHARE},
    "histogram": {"low": -1.0, "high": 1.0, "chosen": [1, 2], "rejected": [2, 1]},
    "scores_by_tranche": {"low": 0.0, "high": 1.0, "tranches": {"base": [1, 2], "online": [0, 4]}},
    "best_of_k": [
        {"k": k, "score": SHARE, "sqrt_log_k": math.sqrt(math.log(k)), "kl": 0.0} for k in (1, 4)
    ],
}


OF_A_REPORT = [
    "calibration", "by-threshold", "by-turn", "by-objective", "by-tranche", "scores", "scores-by-tranche",
    "by-k",
]  # fmt: skip


def write_run(directory: Path, *, rows, evaluation=None) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (directory / "metrics.jsonl").write_text(lines + '{"step": 99, "pm/lo', encoding="utf-8")
    if evaluation is not None:
        (directory / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    return directory


def test_series_leaves_out_what_is_not_a_number():
    rows = [{"step": 1, "a": 1.0}, {"step": 2, "a": math.nan}, {"step": 3}, {"step": 4, "a": 2}]

    assert series(rows, "a") == ([1, 4], [1.0, 2.0])
    assert pairs([{"x": 1, "y": 2}, {"x": 3}, {"x": None, "y": 1}], x="x", y="y") == ([1.0], [2.0])


def test_linear_fit_of_a_line_is_the_line():
    assert linear_fit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]) == (2.0, 1.0, 1.0)
    assert linear_fit([0.0, 1.0], [1.0, 3.0]) is None  # two points always lie on a line


def test_a_half_written_row_is_left_out(tmp_path):
    write_run(tmp_path, rows=[{"step": 1, "pm/loss": 0.7}])

    assert recorded.metrics(tmp_path) == [{"step": 1, "pm/loss": 0.7}]


def test_a_preference_model_offers_what_it_measured(tmp_path):
    write_run(
        tmp_path, rows=[{"step": 1, "pm/loss": 0.7, "pm/accuracy": 0.5}], evaluation=EVALUATION
    )

    names = [name for name, _ in plots.offered("preference_model", evaluation=EVALUATION)]

    assert names == ["learning", *OF_A_REPORT]
    drawn = {name: plots.draw(name, directory=tmp_path) for name in names}
    assert all(svg and svg.count("<svg") == 1 for svg in drawn.values())
    assert drawn == {name: plots.draw(name, directory=tmp_path) for name in names}


def test_an_evaluation_runs_report_is_read_like_a_preference_models(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({recorded.COMPARISONS: EVALUATION}))

    found = recorded.evaluation(tmp_path)

    assert recorded.COMPARISONS in SCORER_SUITES
    assert {key: found[key] for key in EVALUATION} == EVALUATION
    names = [name for name, _ in plots.offered("evaluation", evaluation=found)]
    assert names == OF_A_REPORT
    assert all(plots.draw(name, directory=tmp_path) for name in names)


LEARNING = [  # metrics rows as each kind writes them, y label, legend
    (
        [
            {"step": 1, "pm/loss": 0.7, "pm/accuracy": 0.5},
            {"step": 2, "pm/loss": 0.6, "pm/accuracy": 0.6, "pm/test_accuracy": 0.6},
        ],
        "loss (nats per comparison) · accuracy (share)",
        ["loss (n = 2)", "accuracy (n = 2)", "test accuracy (n = 1)"],
    ),
    (
        [
            {"step": 1, "lm/loss": 3.9, "lm/learning_rate": 1e-3},
            {"step": 2, "lm/loss": 3.5, "held_out/books": 3.6, "held_out/dialogues": 4.1},
        ],
        "loss (nats per token)",
        ["training (n = 2)", "held out: books (n = 1)", "held out: dialogues (n = 1)"],
    ),
    (
        [
            {"step": 0, "held_out/kl": 0.9},
            {"step": 1, "distillation/kl": 0.8, "distillation/gradient_norm": 2.0},
            {"step": 2, "distillation/kl": 0.7, "held_out/kl": 0.6},
        ],
        "KL from the prompted model (nats per token)",
        ["training (n = 2)", "held out (n = 2)"],
    ),
]


@pytest.mark.parametrize(("rows", "label", "legend"), LEARNING)
def test_learning_shows_what_the_kind_learns(tmp_path, rows, label, legend):
    figure = learning_plots.learning(write_run(tmp_path, rows=rows))

    (area,) = figure.axes
    assert (area.get_xlabel(), area.get_ylabel()) == ("optimizer step", label)
    assert [each.get_text() for each in area.get_legend().get_texts()] == legend


MEASURED = {"held_out/score": 0.1, "held_out/logprob_accuracy_helpful": 0.5}


def test_a_policy_offers_score_and_kl(tmp_path):
    rows = [
        {
            "step": step,
            "objective/score": step * 0.5,
            "objective/kl": 1.0,
            "objective/kl_k3": 1.1,
            "objective/sqrt_kl": step * 0.25,
            "ppo/samples": step * 64,
        }
        for step in (1, 2, 3)
    ]
    write_run(tmp_path, rows=[{"step": 0, **MEASURED}, *rows])

    for name, _ in plots.offered("ppo", evaluation={}):
        assert plots.draw(name, directory=tmp_path) is not None
    assert plots.draw_all("ppo", directory=tmp_path) == [
        tmp_path / "plots" / f"{name}.svg"
        for name in ("ppo-score", "ppo-kl", "ppo-likelihoods", "ppo-sqrt-kl")
    ]


@pytest.mark.parametrize("name", ["learning", "calibration", "ppo-kl", "scores", "no-such-figure"])
def test_nothing_recorded_draws_nothing(tmp_path, name):
    assert plots.draw(name, directory=tmp_path) is None


def test_matplotlib_is_not_loaded_by_importing_the_plots():
    code = "import sys, training.report.plots; sys.exit('matplotlib' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_empty_board_has_no_dots():
    class Board:
        rows = ()

    assert dots(Board()) is None
