"""Best-of-k: the curve by hand, the ranking, and going on after an interruption."""

import gzip
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelserving.core.artifacts import file_sha256, verify
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.dying import deaths
from tests.training.core.killing import kill_at
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.core import best_of_k
from training.core.__main__ import run
from training.core.best_of_k import expected_best, score_curve
from training.core.prompts import Prompt
from training.report import rankings as report_rankings

PACKED = "rankings.jsonl.gz"
CONFIG = {
    "kind": "best_of_k",
    "device": "cpu",
    "threads": 1,
    "k": 4,
    "prompts": 10,
    "batch_prompts": 2,
    "max_response_tokens": 6,
    "max_prompt_tokens": 64,
}


def rankings(directory: Path) -> list[dict]:
    """The rows of a published rollouts directory."""
    with gzip.open(directory / "rankings.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_language_model(folder / "initial")
    make_tiny_preference_model(folder / "ranker")
    train, test = [row(index) for index in range(4)], [row(index) for index in range(100, 112)]
    release = make_release(folder / "release", train=train, test=test)
    return {"initial": folder / "initial", "ranker": folder / "ranker", "release": release}


@pytest.mark.parametrize("of", [1, 2, 3, 4])
def test_expected_best_is_the_mean_over_all_subsets(of: int):
    scores = [0.3, -1.0, 2.5, 0.9]

    subsets = [max(each) for each in itertools.combinations(scores, of)]

    assert expected_best(scores, of=of) == pytest.approx(sum(subsets) / len(subsets))


def test_curve_has_the_kl_of_best_of_k():
    curve = score_curve([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]])

    assert [point["k"] for point in curve] == [1, 2, 4]
    assert curve[0]["kl"] == 0.0
    assert curve[2]["kl"] == pytest.approx(math.log(4) - 0.75)
    assert curve[2]["score"]["value"] == pytest.approx(2.5)


def test_more_tokens_than_the_policy_has_positions_are_refused(
    inputs: dict[str, Path], tmp_path: Path
):
    path = make_run(tmp_path / "run", config=CONFIG | {"max_prompt_tokens": 10**5}, inputs=inputs)

    assert run(path) == 2

    assert "lower max_prompt_tokens or max_response_tokens" in status(path)["reason"]


def test_every_prompt_has_its_k_responses_best_first(inputs: dict[str, Path], tmp_path: Path):
    path = make_run(tmp_path / "run", config=CONFIG, inputs=inputs)

    assert run(path) == 0

    found = rankings(path / "rollouts")
    assert verify(path / "rollouts").kind == "rollouts"
    assert len(found) == 10
    for each in found:
        scores = [response["score"] for response in each["responses"]]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)
        assert each["messages"][-1]["role"] == "user"
    medians = [each.median["score"] for each in report_rankings.rankings(path)]
    assert medians == [each["responses"][2]["score"] for each in found]
    results = status(path)["results"]
    assert results["best_of_4_score"]["value"] > results["best_of_1_score"]["value"]
    alone = results["best_of_1_score"]
    parts = alone["by_objective"]
    assert set(parts) == {"helpful", "harmless"}
    whole = sum(each["n"] * each["value"] for each in parts.values()) / 10
    assert whole == pytest.approx(alone["value"])


def test_a_killed_run_goes_on_to_the_same_rankings(inputs: dict[str, Path], tmp_path: Path):
    whole = make_run(tmp_path / "whole", config=CONFIG, inputs=inputs)
    killed = make_run(tmp_path / "killed", config=CONFIG, inputs=inputs)

    assert run(whole) == 0
    kill_at(killed, step=2)
    assert run(killed) == 0

    names = [each / "rollouts" / "rankings.jsonl.gz" for each in (whole, killed)]
    assert file_sha256(names[0]) == file_sha256(names[1])
    assert json.loads((whole / "evaluation.json").read_text())
    assert [each["step"] for each in metrics(killed)] == [1, 2, 3, 4, 5]


SHORT = CONFIG | {"k": 2, "prompts": 5, "max_response_tokens": 4}  # the last batch is half a one


def rows_on_disk(path: Path) -> int:
    """Whole rankings that a dead run left."""
    return sum(1 for _ in report_rankings.rankings(path))


def test_nothing_that_was_sampled_is_lost_or_sampled_again_after_a_death_at_any_file_operation(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[int] = []
    rank_batch = best_of_k.rank_batch

    def counted(prompts: Sequence[Prompt], **options: Any) -> list[dict]:
        drawn.append(len(prompts))
        return rank_batch(prompts, **options)

    monkeypatch.setattr(best_of_k, "rank_batch", counted)
    whole = make_run(tmp_path / "whole", config=SHORT, inputs=inputs)
    assert run(whole) == 0

    for died in deaths(
        prepare=lambda nth: make_run(tmp_path / str(nth), config=SHORT, inputs=inputs),
        act=run, at_least=40,
    ):  # fmt: skip
        kept = rows_on_disk(died)
        drawn.clear()
        assert run(died) == 0

        assert sum(drawn) == 5 - kept
        assert (died / "rollouts" / PACKED).read_bytes() == (
            whole / "rollouts" / PACKED
        ).read_bytes()
        assert verify(died / "rollouts").kind == "rollouts"
        assert sorted(each.name for each in died.glob("rollouts*")) == ["rollouts"]
        assert [without_time(each) for each in metrics(died)] == [
            without_time(each) for each in metrics(whole)
        ]
        assert status(died)["results"] == status(whole)["results"]


def without_time(row: dict) -> dict:
    """What two runs have in common."""
    return {name: each for name, each in row.items() if name != "time"}


def test_a_row_that_was_cut_within_a_letter_is_sampled_again(
    inputs: dict[str, Path], tmp_path: Path
):
    path = make_run(tmp_path / "run", config=SHORT, inputs=inputs)
    kill_at(path, step=1)
    with (path / "rollouts.partial" / "rankings.jsonl").open("ab") as handle:
        handle.write('{"messages": "Köln'.encode()[:-3])

    assert run(path) == 0

    assert len(rankings(path / "rollouts")) == 5
