"""The suite `elo` end to end on a tiny preference model: what it counts, what it refuses, when it is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelserving.lm.loading import load_preference_model
from tests.tiny_checkpoints import make_tiny_preference_model
from tests.training.core.test_preference_training import status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.core.__main__ import run
from training.core.batching import encode_comparison
from training.core.data import ReleaseRow
from training.core.evaluation.elo import LEAST_CHOICES
from training.core.evaluation.elo_curves import ELO_PER_NAT
from training.core.evaluation.preference import judge

CONFIG = {
    "kind": "evaluation", "device": "cpu", "threads": 1, "suites": ["elo"], "bootstrap_samples": 40,
}  # fmt: skip
MODELS = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture(scope="module")
def ranker(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranker") / "ranker"
    make_tiny_preference_model(folder)
    return folder


def between(index: int, **changes: Any) -> dict[str, Any]:
    """A helpful comparison of two of the three models."""
    named = {
        "objective": "helpful",
        "picked_checkpoint": MODELS[index % 3],
        "other_checkpoint": MODELS[(index + 1) % 3],
    }
    return row(index, **(named | changes))


def turned(one: dict[str, Any]) -> dict[str, Any]:
    """The same comparison with the other response picked."""
    swapped = {
        "picked": one["other"], "other": one["picked"],
        "picked_checkpoint": one["other_checkpoint"], "other_checkpoint": one["picked_checkpoint"],
    }  # fmt: skip
    return one | swapped


def as_scored(rows: list[dict[str, Any]], *, ranker: Path) -> list[dict[str, Any]]:
    """The rows as a crowd would have picked that always agrees with the preference model."""
    model = load_preference_model(ranker)
    encoded = [
        encode_comparison(ReleaseRow(**each), encoder=model.tokenizer, layout=model.dialogue_format)
        for each in rows
    ]
    return [
        one if judged.margin > 0 else turned(one)
        for one, judged in zip(rows, judge(model.model, encoded), strict=True)
    ]


def evaluated(
    path: Path, *, ranker: Path, rows: list[dict[str, Any]], **changes: Any
) -> tuple[int, Path]:
    """Exit code and directory of a run on a release with these held-out rows."""
    release = make_release(path.with_name(f"{path.name}-release"), train=[row(1)], test=rows)
    inputs = {"initial": ranker, "release": release, **changes.pop("inputs", {})}
    made = make_run(path, config=CONFIG | changes, inputs=inputs)
    return run(made), made


def found(path: Path) -> dict[str, Any]:
    return json.loads((path / "evaluation.json").read_text())["elo"]


def test_a_crowd_that_agrees_with_the_preference_model_has_the_elo_of_its_picks(ranker, tmp_path):
    rows = as_scored([between(index) for index in range(90)], ranker=ranker)

    code, path = evaluated(tmp_path / "run", ranker=ranker, rows=rows)

    part = found(path)["by_objective"]["helpful"]
    assert code == 0
    assert {each["model"] for each in part["models"]} == set(MODELS)
    assert [each["picks"] for each in part["models"]] == [each["crowd"] for each in part["models"]]
    assert [each["crowd"]["n"] for each in part["models"]] == [60, 60, 60]
    assert part["without_held_out_score"] == [each["model"] for each in part["models"]]
    headline = status(path)["results"]["elo"]
    assert (headline["models"], headline["choices"], headline["gap_of_picks"]) == (3, 90, 0.0)
    assert headline["gap_of_mean_scores"] > 0


def test_what_is_no_sure_choice_of_the_crowd_between_two_models_is_not_counted(ranker, tmp_path):
    counted = [between(index) for index in range(60)]
    others = [
        between(100, strength=1),
        between(101, origin="simulated"),
        between(102, other_checkpoint=None),
        between(103, picked_checkpoint=MODELS[0], other_checkpoint=MODELS[0]),
        between(104, finish_reasons=["stop", "stopped"]),
        between(107, best_of=[16, 1]),
        between(105, picked_checkpoint="d" * 64),  # one choice says nothing of a model
        between(106, objective="harmless", question="less_harmful"),  # nor does one of an objective
    ]

    code, path = evaluated(tmp_path / "run", ranker=ranker, rows=counted + others)

    assert code == 0
    assert set(found(path)["by_objective"]) == {"helpful"}
    assert found(path)["headline"]["choices"] == 60


def test_more_harmful_picks_count_for_the_other_model(ranker, tmp_path):
    named = {"picked_checkpoint": MODELS[0], "other_checkpoint": MODELS[1]}
    rows = [
        between(index, objective="harmless", question="more_harmful", **named)
        for index in range(30)
    ]
    rows += [between(30 + index, objective="harmless", question="less_harmful", **named)
             for index in range(10)]  # fmt: skip

    code, path = evaluated(tmp_path / "run", ranker=ranker, rows=rows)

    part = found(path)["by_objective"]["harmless"]
    assert code == 0
    assert [each["model"] for each in part["models"]] == [MODELS[1], MODELS[0]]


def test_held_out_scores_of_other_runs_become_the_naive_curve(ranker, tmp_path):
    scores = {
        model: {
            "by_objective": {
                "helpful": {"value": float(place), "low": place - 0.1, "high": place + 0.1, "n": 8},
                "harmless": {"value": 90.0, "low": 89.0, "high": 91.0, "n": 8},
            },
            "from": "evaluation 3",
        }
        for place, model in enumerate(MODELS[:2])
    }
    kept = tmp_path / "scores.json"
    kept.write_text(json.dumps(scores))
    rows = [between(index) for index in range(60)]

    code, path = evaluated(
        tmp_path / "run", ranker=ranker, rows=rows, inputs={"held_out_scores": kept}
    )

    part = found(path)["by_objective"]["helpful"]
    naive = {each["model"]: each["naive"] for each in part["models"]}
    assert (code, part["anchor"]) == (0, MODELS[0])
    assert naive[MODELS[1]]["value"] == pytest.approx(ELO_PER_NAT)
    assert naive[MODELS[2]] is None
    assert part["without_held_out_score"] == [MODELS[2]]


def test_too_few_choices_are_refused_with_the_numbers(ranker, tmp_path):
    few = [between(3 * index) for index in range(LEAST_CHOICES - 1)] + [row(500), row(501)]

    code, path = evaluated(tmp_path / "run", ranker=ranker, rows=few)

    assert code == 2
    reason = status(path)["reason"]
    assert "elo needs two models of one objective with 20" in reason
    assert "19 of 21 test comparisons are between two models" in reason
    assert f"{MODELS[0][:8]} 19 helpful, {MODELS[1][:8]} 19 helpful" in reason
    assert "cut a release with a larger test share" in reason


def test_too_few_of_the_examples_taken_are_counted_among_all(ranker, tmp_path):
    rows = [between(index) for index in range(60)] + [
        between(100 + i, best_of=[4, 1]) for i in range(7)
    ]
    config = {"max_examples": 15}

    code, path = evaluated(tmp_path / "run", ranker=ranker, rows=rows, **config)

    assert code == 2
    reason = status(path)["reason"]
    assert "60 of 67 test comparisons are between two models" in reason
    assert "7 hold a best of several samples" in reason
    assert "raise max_examples, now 15" in reason


def test_without_two_models_the_usual_suites_leave_it_out(ranker, tmp_path):
    code, path = evaluated(
        tmp_path / "run", ranker=ranker, rows=[row(index) for index in range(4)], suites=[]
    )

    assert code == 0
    assert set(status(path)["results"]) == {"comparisons"}
    with_models, whole = evaluated(
        tmp_path / "all", ranker=ranker, rows=[between(i) for i in range(60)], suites=[]
    )
    assert with_models == 0
    assert set(status(whole)["results"]) == {"comparisons", "elo"}
