"""PPO end to end on tiny models: exact ratio, resume to the bit, reasons to stop, and learning."""

import json
import random
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from modelserving.core import host_memory
from modelserving.core.artifacts import content_hash, file_sha256, verify
from modelserving.lm.loading import load_language_model, load_preference_model
from tests.training.core.killing import kill_at
from tests.training.core.ppo_inputs import CONFIG, make_ppo_inputs
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import make_run
from training.config import PPOConfig
from training.core.__main__ import run
from training.core.ppo_learner import Learner
from training.core.token_numbers import Reading, read_row


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    return make_ppo_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("value_network", ["separate", "shared"])
def test_ratio_is_one_and_kl_zero_before_the_first_update(
    inputs: dict[str, Path], tmp_path: Path, value_network: str
):
    config = CONFIG | {"value_network": value_network}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 0

    start, first, *later = metrics(path)
    assert start["step"] == 0
    assert [each["ppo/policy/first_ratio_error"] for each in (first, *later)] == [0.0] * 4
    assert first["objective/kl"] == 0.0
    assert first["objective/kl_k3"] == 0.0
    assert first["ppo/value/mean"] == 0.0
    assert later[-1]["objective/kl_k3"] > 0.0
    assert "objective/test_pm_score" in first
    results = status(path)["results"]
    assert results["gain"]["n"] == 4
    gained = results["heldout_score_end"]["value"] - results["heldout_score_start"]["value"]
    assert results["gain"]["value"] == pytest.approx(gained, abs=1e-6)


def test_the_policy_loads_in_plain_transformers_and_names_its_parents(
    inputs: dict[str, Path], tmp_path: Path
):
    path = make_run(tmp_path / "run", config=CONFIG | {"steps": 1}, inputs=inputs)

    assert run(path) == 0

    checkpoint = path / status(path)["checkpoint"]
    AutoModelForCausalLM.from_pretrained(checkpoint)
    manifest = verify(checkpoint)
    assert manifest.kind == "policy"
    roles = ("initial", "ranker", "test_pm", "release")
    assert manifest.parents == [content_hash(verify(inputs[role])) for role in roles]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_killed_run_resumes_to_the_same_weights(
    inputs: dict[str, Path], tmp_path: Path, threads: int
):
    config = CONFIG | {"threads": threads}
    whole = make_run(tmp_path / "whole", config=config, inputs=inputs)
    killed = make_run(tmp_path / "killed", config=config, inputs=inputs)

    assert run(whole) == 0
    for step in sorted(random.sample(range(5), 2)):  # 0 is the measurement of the start
        kill_at(killed, step=step)
    assert run(killed) == 0

    sums = [
        file_sha256(each / status(each)["checkpoint"] / "model.safetensors")
        for each in (whole, killed)
    ]
    assert sums[0] == sums[1]
    assert status(whole)["results"] == status(killed)["results"]
    timeless = [
        [{k: v for k, v in r.items() if not k.startswith("time")} for r in metrics(each)]
        for each in (whole, killed)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("minibatches", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("value_network", ["separate", "shared"])
def test_a_reading_kept_for_the_first_update_changes_no_bit(
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value_network: str,
    threads: int,
    minibatches: int,
):
    config = CONFIG | {"threads": threads, "value_network": value_network, "steps": 2}
    config |= {"minibatches": minibatches, "micro_tokens": 4096, "normalize_scores": False}
    read_again: list[object] = []

    def counted(*arguments: object, **named: object) -> Reading:
        read_again.append(arguments)
        return read_row(*arguments, **named)

    monkeypatch.setattr("training.core.ppo_update.read_row", counted)
    counts, sums = [], []
    for name in ("kept", "again"):
        if name == "again":
            monkeypatch.setattr("training.core.ppo_training.rows_to_keep", lambda *_, **__: 0)
        path = make_run(tmp_path / name, config=config, inputs=inputs)
        assert run(path) == 0
        counts.append(len(read_again))
        read_again.clear()
        sums.append(file_sha256(path / status(path)["checkpoint"] / "model.safetensors"))

    errors = [each["ppo/policy/first_ratio_error"] for each in metrics(path)[1:]]
    assert errors == [0.0] * config["steps"]  # of the run that read again
    assert counts[1] - counts[0] == config["steps"] * threads
    assert counts[1] == counts[0] * 2 * minibatches / (2 * minibatches - 1)  # two inner epochs
    assert sums[0] == sums[1]


def test_activation_checkpointing_reaches_the_critic_and_changes_no_bit(
    inputs: dict[str, Path], tmp_path: Path
):
    sums = []
    for name in ("kept", "recomputed"):
        config = CONFIG | {"steps": 2, "activation_checkpointing": name == "recomputed"}
        path = make_run(tmp_path / name, config=config, inputs=inputs)
        assert run(path) == 0
        sums.append(file_sha256(path / status(path)["checkpoint"] / "model.safetensors"))

    critic = Learner(
        load_language_model(inputs["initial"]),
        ranker=load_preference_model(inputs["ranker"]),
        config=PPOConfig(activation_checkpointing=True),
    ).value.network

    assert all(each.gradient_checkpointing and each.training for each in critic.base_model.layers)
    assert sums[0] == sums[1]


def test_the_score_of_the_prompts_it_trains_on_rises(inputs: dict[str, Path], tmp_path: Path):
    config = CONFIG | {
        "steps": 25,
        "max_response_tokens": 2,
        "batch_prompts": 16,
        "learning_rate": 3e-3,
        "value_learning_rate": 3e-3,
        "kl_weight": 0.0,
        "no_end_penalty": 0.0,
        "samples_per_prompt": 4,
        "evaluate_every": 25,
        "checkpoint_every": 100,
        "minibatches": 2,
        "micro_tokens": 2048,
    }
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 0

    scores = [each["objective/score"] for each in metrics(path)[1:]]
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.3


def test_too_much_kl_stops_the_run_and_keeps_the_checkpoint_before(
    inputs: dict[str, Path], tmp_path: Path
):
    config = CONFIG | {"learning_rate": 0.05, "steps": 20, "stop_kl": 0.05}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 0

    ended = status(path)
    assert ended["state"] == "stopped"
    assert "stop_kl" in ended["reason"]
    last = metrics(path)[-1]["step"]
    assert last < 20
    assert f"after step {last}" in ended["reason"]
    assert ended["step"] == last - 1
    assert ended["checkpoint"] == f"checkpoints/step-{last - 1:06d}"
    assert ended["results"]["samples"] == (last - 1) * 12
    measured = [each for each in metrics(path) if "held_out/score" in each and each["step"] < last]
    score = ended["results"]["heldout_score_end"]["value"]
    assert score == pytest.approx(measured[-1]["held_out/score"])


def test_numbers_that_are_not_finite_stop_before_the_update(
    inputs: dict[str, Path], tmp_path: Path
):
    config = CONFIG | {"learning_rate": 1e30, "stop_kl": 1e30}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 3

    assert "not finite" in status(path)["reason"]


def test_rows_too_long_for_the_memory_are_refused_before_the_first_step(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 1000 kB\n")
    monkeypatch.setattr(host_memory, "MEMINFO", meminfo)
    path = make_run(tmp_path / "run", config=CONFIG | {"micro_tokens": 10**9}, inputs=inputs)

    assert run(path) == 2

    assert "lower micro_tokens" in status(path)["reason"]


def test_more_tokens_than_the_models_have_positions_are_refused(
    inputs: dict[str, Path], tmp_path: Path
):
    path = make_run(tmp_path / "run", config=CONFIG | {"max_response_tokens": 10**5}, inputs=inputs)

    assert run(path) == 2

    assert "lower max_prompt_tokens or max_response_tokens" in status(path)["reason"]


def test_samples_are_logged(inputs: dict[str, Path], tmp_path: Path):
    path = make_run(tmp_path / "run", config=CONFIG | {"steps": 2}, inputs=inputs)

    assert run(path) == 0

    logged = [json.loads(line) for line in (path / "samples.jsonl").read_text().splitlines()]
    assert {each["step"] for each in logged} == {1, 2}
    assert {"prompt", "response", "score", "ended", "step"} <= set(logged[0])


@pytest.mark.parametrize(
    ("changes", "missing", "reason"),
    [
        ({"stop_on_divergence": 0.5}, "test_pm", "give the run a test_pm"),
        ({"objective_weights": {"harmles": 2.0}}, "", "names 'harmles', which no row has"),
    ],
)
def test_what_would_change_nothing_is_refused(
    inputs: dict[str, Path], tmp_path: Path, changes: dict, missing: str, reason: str
):
    given = {role: each for role, each in inputs.items() if role != missing}
    path = make_run(tmp_path / "run", config=CONFIG | changes, inputs=given)

    assert run(path) == 2

    assert reason in status(path)["reason"]
