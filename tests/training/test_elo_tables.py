"""Elo beside what scores predict: figure, table, and the scores that other runs hand on.

Knows evaluation.json as the suite writes it; nothing is fitted here.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from modelserving import registry
from modelserving.core.artifacts import file_sha256
from tests.comparisons.making import make_checkpoint
from tests.training.making import end_run, make_release, signed_in, text_of, write_starter
from training import run_files
from training.held_out_scores import held_out_scores
from training.models import TrainingRun
from training.report import elo_plots, plots

SCORE = {
    "value": 0.5,
    "low": 0.25,
    "high": 0.75,
    "n": 40,
    "by_objective": {"helpful": {"value": 2.0}},
}


def point(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 30, "high": value + 30, "n": 60}


def part(*models: str, naive: dict[str, Any] | None = None) -> dict[str, Any]:
    """An objective as the suite reports it: the first model is the anchor."""
    return {
        "anchor": models[0],
        "choices": 90,
        "ties": 2,
        "agreement": 0.6,
        "not_connected": [],
        "without_held_out_score": [] if naive else list(models),
        "models": [
            {
                "model": model,
                "crowd": point(-40.0 * place),
                "picks": point(-45.0 * place),
                "scores": point(-60.0 * place),
                "naive": naive,
            }
            for place, model in enumerate(models)
        ],
    }


def evaluation(**objectives: dict[str, Any]) -> str:
    return json.dumps({"elo": {"headline": {"models": 2}, "by_objective": objectives}})


def evaluated(text: str, **values: Any) -> TrainingRun:
    run = TrainingRun.objects.create(
        kind="evaluation",
        **({"config": {}, "initial": make_checkpoint(kind="preference_model")} | values),
    )  # fmt: skip
    if text:
        directory = run_files.directory_of(run)
        directory.mkdir(parents=True)
        (directory / "evaluation.json").write_text(text)
    return run


def write(directory: Path, text: str) -> Path:
    (directory / "evaluation.json").write_text(text)
    return directory


def test_the_figure_draws_four_curves_per_objective_and_names_the_anchor(tmp_path):
    both = evaluation(
        helpful=part("a" * 64, "b" * 64, naive=point(10.0)),
        harmless=part("b" * 64, "c" * 64, naive=point(10.0)),
    )

    figure = elo_plots.elo(write(tmp_path, both))

    (area,) = figure.axes
    assert [each.get_text() for each in area.get_legend().get_texts()] == list(
        elo_plots.CURVES.values()
    )
    assert [each.get_text() for each in area.get_xticklabels()] == [
        "bbbbbbbb\nhelpful\nn=60", "aaaaaaaa\nhelpful\nn=60\nanchor",
        "cccccccc\nharmless\nn=60", "bbbbbbbb\nharmless\nn=60\nanchor",
    ]  # fmt: skip
    assert plots.draw("elo", directory=tmp_path).count("<svg") == 1


def test_the_figure_leaves_out_a_curve_that_nobody_measured(tmp_path):
    figure = elo_plots.elo(write(tmp_path, evaluation(helpful=part("a" * 64, "b" * 64))))

    words = [each.get_text() for each in figure.axes[0].get_legend().get_texts()]
    assert words == [elo_plots.CURVES[curve] for curve in ("scores", "picks", "crowd")]
    assert elo_plots.elo(write(tmp_path, "{}")) is None


@pytest.mark.django_db
def test_a_page_names_the_models_and_says_how_to_get_the_missing_curve():
    known = make_checkpoint()
    run = evaluated(evaluation(helpful=part(known.hash, "f" * 64)))

    page = text_of(signed_in().get(reverse("run", args=[run.public_id])))

    assert "Elo and what scores predict: helpful" in page
    row = page.split("<tbody>")[1].split("</tr>")
    assert f">{known}</a></td>" in row[0]
    assert row[0].count("0 (anchor)") == 3
    assert f'<span class="hash">{"f" * 64}</span>' in row[1]
    assert "−40 (−70 to −10)" in row[1]
    assert "90 choices of the crowd" in page
    assert "2 of them scored alike" in page
    assert f"No score of held-out prompts is recorded for: {known}, {'f' * 64}." in page
    assert "with this preference model as ranker" in page


@pytest.mark.django_db
def test_a_page_says_who_never_lost_and_who_was_never_compared_with_these():
    unbounded = {"is_bounded": False, "wins": 60}
    told = part("a" * 64, "b" * 64, "c" * 64)
    told["models"][1]["picks"] |= unbounded
    told["models"][2]["crowd"] |= unbounded | {"wins": 0}
    told["not_connected"] = ["d" * 64]

    page = text_of(
        signed_in().get(reverse("run", args=[evaluated(evaluation(helpful=told)).public_id]))
    )

    rows = page.split("<tbody>")[1].split("</tr>")
    assert "never lost" in rows[1]
    assert "never won" in rows[2]
    assert f"Never compared with these, directly or through others: {'d' * 64}." in page


@pytest.mark.django_db
def test_a_page_without_the_suite_has_no_table():
    run = evaluated("{}")

    page = text_of(signed_in().get(reverse("run", args=[run.public_id])))

    assert "what scores predict" not in page


@pytest.mark.django_db
def test_scores_of_other_runs_are_handed_on_by_hash():
    scorer, other = (make_checkpoint(kind="preference_model") for _ in range(2))
    release, elsewhere = make_release("r1"), make_release("r2")
    policies = [make_checkpoint() for _ in range(6)]
    common = {"config": {"max_response_tokens": 128}, "ranker": scorer, "release": release}
    given = [
        ({"kind": "evaluation", "initial": policies[0]}, {"heldout_score": SCORE | {"value": 9.0}}),
        ({"kind": "evaluation", "initial": policies[0]}, {"heldout_score": SCORE}),
        ({"kind": "best_of_k", "initial": policies[1]}, {"best_of_1_score": SCORE, "prompts": 3}),
        ({"kind": "evaluation", "initial": policies[2], "ranker": other}, {"heldout_score": SCORE}),
        ({"kind": "evaluation", "initial": policies[2], "release": elsewhere},
         {"heldout_score": SCORE}),
        ({"kind": "evaluation", "initial": policies[3]}, {"response_loss": SCORE}),
        ({"kind": "best_of_k", "initial": policies[4],
          "config": {"max_response_tokens": 128, "temperature": 0.7}}, {"best_of_1_score": SCORE}),
        ({"kind": "evaluation", "initial": policies[5], "config": {"max_response_tokens": 64}},
         {"heldout_score": SCORE}),
    ]  # fmt: skip
    for values, results in given:
        end_run(TrainingRun.objects.create(**(common | values)), kind="policy", **results)

    found = held_out_scores(
        evaluated("", initial=scorer, release=release, config={"max_response_tokens": 128})
    )

    assert set(found) == {policies[0].hash, policies[1].hash}
    assert found[policies[0].hash]["by_objective"] == {"helpful": {"value": 2.0}}
    assert found[policies[1].hash]["from"].startswith("best of k ")


@pytest.mark.django_db
def test_the_run_reads_them_as_an_input_with_its_hash(tmp_path, settings):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")
    scorer, policy, release = registry.ensure_starter(), make_checkpoint(), make_release("r1")
    measured = TrainingRun.objects.create(
        kind="evaluation", config={}, initial=policy, ranker=scorer, release=release
    )
    end_run(measured, kind="policy", heldout_score=SCORE)

    path = run_files.prepare(evaluated("", initial=scorer, release=release))
    without = run_files.prepare(evaluated("", initial=scorer))

    given = json.loads((path / "inputs.json").read_text())["held_out_scores"]
    kept = path / given["path"]
    assert given["sha256"] == file_sha256(kept)
    assert set(json.loads(kept.read_text())) == {policy.hash}
    assert set(json.loads((without / "inputs.json").read_text())) == {"initial"}
