"""The evaluation run picks what fits the checkpoint and agrees with plain forwards."""

import json
from pathlib import Path

import pytest
import torch

from modelserving.lm.loading import load_language_model
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.test_batching import encoded
from tests.training.core.test_preference_training import status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.core.__main__ import run
from training.core.evaluation.policies import mean_logprobs

CONFIG = {"kind": "evaluation", "device": "cpu", "threads": 1, "max_response_tokens": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_language_model(folder / "policy")
    make_tiny_preference_model(folder / "ranker")
    rows = [row(index) for index in range(6)]
    make_release(folder / "release", train=rows, test=rows)
    return folder


def test_a_policy_is_put_through_the_policies_suites(folder: Path, tmp_path: Path):
    inputs = {
        "initial": folder / "policy",
        "ranker": folder / "ranker",
        "release": folder / "release",
    }
    path = make_run(tmp_path / "run", config=CONFIG, inputs=inputs)

    assert run(path) == 0

    results = status(path)["results"]
    assert set(results) == {"logprob_accuracy", "response_loss", "heldout_score"}
    assert all(found["n"] == 6 for found in results.values())
    assert set(json.loads((path / "evaluation.json").read_text())) == set(results)


def test_responses_that_leave_no_room_for_a_prompt_are_refused(folder: Path, tmp_path: Path):
    inputs = {
        "initial": folder / "policy",
        "ranker": folder / "ranker",
        "release": folder / "release",
    }
    suites = ["response_loss", "heldout_score"]
    config = CONFIG | {"suites": suites, "max_response_tokens": 250}  # of 256
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 2

    assert "leaves no room for a prompt within the policy's 256 tokens" in status(path)["reason"]
    assert not (path / "suites.jsonl").exists()


def test_room_is_within_the_policys_positions_whatever_its_dialogues_say(
    folder: Path, tmp_path: Path
):
    turns = {
        "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64,
        "factor": 4.0, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
    }  # fmt: skip
    make_tiny_language_model(tmp_path / "policy", kind="policy", rope_parameters=turns)
    inputs = {
        "initial": tmp_path / "policy",
        "ranker": folder / "ranker",
        "release": folder / "release",
    }
    config = CONFIG | {"suites": ["heldout_score"], "max_response_tokens": 100}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 2

    assert "leaves no room for a prompt within the policy's 64 tokens" in status(path)["reason"]


def test_a_preference_model_is_tested_on_comparisons(folder: Path, tmp_path: Path):
    inputs = {"initial": folder / "ranker", "release": folder / "release"}
    path = make_run(tmp_path / "run", config=CONFIG, inputs=inputs)

    assert run(path) == 0

    assert status(path)["results"]["comparisons"]["n"] == 6


def test_a_suite_that_lacks_its_input_is_refused_before_any_other_runs(
    folder: Path, tmp_path: Path
):
    inputs = {"initial": folder / "policy", "release": folder / "release"}
    config = CONFIG | {"suites": ["response_loss", "heldout_score"]}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 2

    assert status(path)["reason"].endswith(
        "heldout_score cannot be run: there is no ranker: choose a preference model that scores"
    )
    assert not (path / "suites.jsonl").exists()


def test_held_out_prompts_are_of_every_objective_whatever_came_first(folder: Path, tmp_path: Path):
    rows = [row(index, objective="harmless") for index in range(30)]
    rows += [row(100 + index, objective="helpful") for index in range(30)]
    inputs = {
        "initial": folder / "policy",
        "ranker": folder / "ranker",
        "release": make_release(tmp_path / "release", train=rows, test=rows),
    }
    config = CONFIG | {"suites": ["heldout_score"], "max_examples": 20}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 0

    found = status(path)["results"]["heldout_score"]
    parts = found["by_objective"]
    assert min(each["n"] for each in parts.values()) > 4
    assert sum(each["n"] for each in parts.values()) == found["n"] == 20
    whole = sum(each["n"] * each["value"] for each in parts.values()) / 20
    assert whole == pytest.approx(found["value"])


def test_a_suite_that_does_not_fit_is_refused(folder: Path, tmp_path: Path):
    inputs = {"initial": folder / "ranker", "release": folder / "release"}
    config = CONFIG | {"suites": ["logprob_accuracy"]}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 2

    assert "do not fit a preference_model" in status(path)["reason"]


@pytest.mark.parametrize("initial", ["policy", "ranker"])
def test_a_release_whose_test_rows_are_all_left_out_is_refused(
    folder: Path, tmp_path: Path, initial: str
):
    unsure = [row(index, strength=1) for index in range(3)]
    release = make_release(tmp_path / "release", train=unsure, test=unsure)
    inputs = {"initial": folder / initial, "release": release}
    path = make_run(tmp_path / "run", config=CONFIG, inputs=inputs)

    assert run(path) == 2

    assert "no test comparison (left out: {'unsure': 3})" in status(path)["reason"]


def test_mean_logprobs_equal_a_plain_forward(folder: Path):
    policy = load_language_model(folder / "policy")
    comparison = encoded()

    ((chosen, rejected),) = mean_logprobs(policy, [comparison])

    policy.model.set_attn_implementation("eager")
    for ours, side in ((chosen, comparison.chosen), (rejected, comparison.rejected)):
        ids = torch.tensor([side[:-1]])
        with torch.no_grad():
            logprobs = policy.model(ids).logits[0].log_softmax(-1)
        start = comparison.prompt_tokens
        said = [logprobs[i - 1, side[i]] for i in range(start, len(side) - 1)]
        assert ours == pytest.approx(float(torch.stack(said).mean()), rel=1e-4)
