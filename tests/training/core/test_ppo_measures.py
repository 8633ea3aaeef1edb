"""What a PPO run says of itself beside its scores: on which prompts, by its own likelihoods, and in what it publishes."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modelserving.core.artifacts import utc_now, write_manifest
from modelserving.lm.loading import load_language_model
from tests.training.core.ppo_inputs import CONFIG, make_ppo_inputs
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import make_run
from training.config import from_dict
from training.core.__main__ import run
from training.core.evaluation.policies import mean_logprobs
from training.core.ppo_world import open_world
from training.core.preference_sets import held_out_comparisons
from training.core.run_directory import RunDirectory


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    return make_ppo_inputs(tmp_path_factory.mktemp("inputs"))


def test_held_out_prompts_are_of_the_objectives_that_are_trained_on(
    inputs: dict[str, Path], tmp_path: Path
):
    config = CONFIG | {"steps": 1, "objective_weights": {"harmless": 0}, "held_out_prompts": 100}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    world = open_world(RunDirectory(path), config=from_dict(config), device=torch.device("cpu"))

    assert {prompt.objective for prompt in world.held_out} == {"helpful"}


def test_the_policys_own_likelihoods_are_measured_at_the_start_and_along_the_run(
    inputs: dict[str, Path], tmp_path: Path
):
    path = make_run(tmp_path / "run", config=CONFIG, inputs=inputs)

    assert run(path) == 0

    name = "held_out/logprob_accuracy"
    measured = [each for each in metrics(path) if name in each]
    assert [each["step"] for each in measured] == [0, 2, 4]
    policy = load_language_model(inputs["initial"])
    comparisons = held_out_comparisons(
        inputs["release"], encoder=policy.tokenizer, layout=policy.dialogue_format, most=64
    )
    right = [chosen > rejected for chosen, rejected in mean_logprobs(policy, comparisons)]
    assert measured[0][name] == pytest.approx(sum(right) / len(right))
    parts = [measured[0][f"{name}_{each}"] for each in ("helpful", "harmless")]
    assert sum(parts) / 2 == pytest.approx(measured[0][name])  # as many of each


@pytest.mark.parametrize(("rate", "is_kept"), [("1e-7", False), ("1e-3", True)])
def test_a_run_says_how_much_of_its_change_the_published_weights_hold(
    inputs: dict[str, Path], tmp_path: Path, rate: str, is_kept: bool
):
    start = shutil.copytree(inputs["initial"], tmp_path / "start")
    weights = load_file(start / "model.safetensors")  # a published start lies on bfloat16's grid
    save_file(
        {name: each.bfloat16() for name, each in weights.items()}, start / "model.safetensors",
        metadata={"format": "pt"},
    )  # fmt: skip
    write_manifest(start, kind="policy", parents=[], config={}, code="", created=utc_now())
    config = CONFIG | {"steps": 2, "warmup_steps": 0, "learning_rate": float(rate)}
    path = make_run(tmp_path / "run", config=config, inputs=inputs | {"initial": start})

    assert run(path) == 0

    kept = status(path)["results"]["change_kept"]
    assert (kept > 0.9) is is_kept
    assert ("of the change is left" in (path / "log.txt").read_text()) is not is_kept
