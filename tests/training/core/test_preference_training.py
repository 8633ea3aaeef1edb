"""Preference models end to end: equal to naive training, learning, resumable, loadable anywhere."""

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from modelserving.core.artifacts import file_sha256, verify
from modelserving.lm.loading import load_language_model, load_preference_model
from modelserving.lm.preference_model import from_language_model, score_dialogues
from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.core.killing import kill_at
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import conversation, make_release, row
from training.config import PreferenceModelConfig
from training.core.__main__ import run
from training.core.batching import encode_comparison, group_conversations
from training.core.data import read_release
from training.core.preference_loss import pairwise_loss
from training.core.preference_step import accumulate
from training.core.preference_training import PreferenceTrainer
from training.core.run_directory import RunDirectory

CONFIG = {"kind": "preference_model", "device": "cpu", "threads": 1, "max_tokens": 128}


@pytest.fixture(scope="module")
def initial(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "initial"
    make_tiny_language_model(directory)
    return directory


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    train = [row(index) for index in range(24)] + conversation(9, turns=3)
    test = [row(index) for index in range(100, 108)]
    return make_release(tmp_path_factory.mktemp("releases") / "one", train=train, test=test)


def status(path: Path) -> dict:
    return json.loads((path / "status.json").read_text())


def metrics(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_packed_trees_give_the_loss_and_gradients_of_one_forward_per_dialogue(
    initial: Path, release: Path
):
    loaded = load_language_model(initial)
    model = from_language_model(loaded.model, seed=0)
    encoding = {"encoder": loaded.tokenizer, "layout": loaded.dialogue_format}
    comparisons = [encode_comparison(each, **encoding) for each in read_release(release, "train")]
    groups = [[comparisons[i] for i in group] for group in group_conversations(comparisons)]
    config = PreferenceModelConfig(objective_weights={"harmless": 2.0}, micro_tokens=512)

    ours = accumulate(model, groups, config=config, step=0)
    packed = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.set_attn_implementation("eager")
    scores = [
        [model(torch.tensor([side])).logits[0, 0] for side in (each.chosen, each.rejected)]
        for each in comparisons
    ]
    chosen, rejected = (torch.stack(side) for side in zip(*scores, strict=True))
    weights = torch.tensor([2.0 if each.objective == "harmless" else 1.0 for each in comparisons])
    naive = pairwise_loss(chosen=chosen, rejected=rejected, weights=weights)
    loss = naive.loss_sum / weights.sum()
    loss.backward()

    assert max(map(len, groups)) == 4
    assert ours.loss == pytest.approx(loss.item(), rel=1e-6)
    assert ours.tokens < sum(len(each.chosen) + len(each.rejected) for each in comparisons)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            difference = (packed[name] - parameter.grad).norm()
            assert difference <= 1e-5 * parameter.grad.norm(), name


def test_it_overfits_eight_comparisons(initial: Path, tmp_path: Path):
    rows = [row(index) for index in range(8)]
    eight = make_release(tmp_path / "eight", train=rows, test=rows)
    config = CONFIG | {"batch_comparisons": 8, "epochs": 30, "learning_rate": 3e-3}
    path = make_run(tmp_path / "run", config=config, inputs={"initial": initial, "release": eight})

    assert run(path) == 0

    losses = [each["pm/loss"] for each in metrics(path)]
    accuracy = status(path)["results"]["test_accuracy"]
    assert losses[0] > 0.3
    assert losses[-1] < 0.01
    assert accuracy["value"] == 1.0
    assert accuracy["n"] == 8
    assert 0.6 < accuracy["low"] < 0.7  # Wilson's bound for 8 of 8


def test_the_checkpoint_scores_the_same_in_plain_transformers(
    initial: Path, release: Path, tmp_path: Path
):
    inputs = {"initial": initial, "release": release}
    path = make_run(tmp_path / "run", config=CONFIG | {"batch_comparisons": 8}, inputs=inputs)

    assert run(path) == 0
    checkpoint = path / status(path)["checkpoint"]
    ours = load_preference_model(checkpoint)
    dialogue = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "How are you"},
    ]
    scored = score_dialogues(
        ours, [dialogue, [*dialogue[:1], {"role": "assistant", "content": "I"}]]
    )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    text = tokenizer.apply_chat_template(dialogue, tokenize=False) + "<|score|>"
    plain = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.no_grad():
        raw = plain(**tokenizer(text, return_tensors="pt")).logits[0, 0]

    assert verify(checkpoint).kind == "preference_model"
    center = json.loads((checkpoint / "dialogue.json").read_text())["score_center"]
    torch.testing.assert_close(scored[0] + center, raw, rtol=1e-5, atol=1e-5)
    evaluation = json.loads((path / "evaluation.json").read_text())
    assert set(evaluation["by_objective"]) == {"helpful", "harmless"}
    assert sum(each["accuracy"]["n"] for each in evaluation["calibration"]) == 8


@pytest.mark.parametrize(("disjoint_models", "threads"), [(1, 1), (1, 2), (2, 1)])
def test_a_killed_run_resumes_to_the_same_weights(
    initial: Path, release: Path, tmp_path: Path, disjoint_models: int, threads: int
):
    config = CONFIG | {
        "threads": threads,
        "batch_comparisons": 4,
        "checkpoint_every": 2,
        "disjoint_models": disjoint_models,
        "keep_checkpoints": 3,
    }
    inputs = {"initial": initial, "release": release}
    whole = make_run(tmp_path / "whole", config=config, inputs=inputs)
    killed = make_run(tmp_path / "killed", config=config, inputs=inputs)

    assert run(whole) == 0
    for step in sorted(random.sample(range(1, len(metrics(whole)) + 1), 2)):
        kill_at(killed, step=step)
    assert run(killed) == 0

    sums = [
        file_sha256(each / status(each)["checkpoint"] / "model.safetensors")
        for each in (whole, killed)
    ]
    assert sums[0] == sums[1]
    assert [r["pm/loss"] for r in metrics(whole)] == [r["pm/loss"] for r in metrics(killed)]
    assert status(whole)["results"] == status(killed)["results"]
    progress = json.loads((whole / "progress.json").read_text())
    assert progress["step"] == progress["total_steps"]
    if disjoint_models == 2:
        assert {"test_accuracy", "test_pm_test_accuracy"} <= set(status(whole)["results"])


def test_a_stop_before_the_first_step_publishes_without_an_evaluation(
    initial: Path, release: Path, tmp_path: Path
):
    inputs = {"initial": initial, "release": release}
    path = make_run(tmp_path / "run", config=CONFIG | {"batch_comparisons": 4}, inputs=inputs)
    (path / "stop.json").write_text("{}")

    assert run(path) == 0

    assert status(path)["state"] == "stopped"
    assert status(path)["checkpoint"] == "checkpoints/step-000000"
    assert "test_accuracy" not in status(path)["results"]
    assert not (path / "evaluation.json").exists()


def test_a_stop_request_publishes_an_evaluated_model(
    initial: Path, release: Path, tmp_path: Path, monkeypatch
):
    inputs = {"initial": initial, "release": release}
    path = make_run(tmp_path / "run", config=CONFIG | {"batch_comparisons": 4}, inputs=inputs)
    train_step = PreferenceTrainer._train_step

    def train_one_step_and_ask_to_stop(trainer: PreferenceTrainer) -> None:
        train_step(trainer)
        (path / "stop.json").write_text("{}")

    monkeypatch.setattr(PreferenceTrainer, "_train_step", train_one_step_and_ask_to_stop)

    assert run(path) == 0

    assert status(path)["state"] == "stopped"
    assert status(path)["checkpoint"] == "checkpoints/step-000001"
    assert status(path)["results"]["test_accuracy"]["n"] == 8


@pytest.mark.parametrize("disjoint_models", [1, 2])
def test_a_run_interrupted_while_it_is_judged_goes_on_with_judging(
    initial: Path, release: Path, tmp_path: Path, monkeypatch, disjoint_models: int
):
    config = CONFIG | {"batch_comparisons": 4, "disjoint_models": disjoint_models}
    inputs = {"initial": initial, "release": release}
    whole = make_run(tmp_path / "whole", config=config, inputs=inputs)
    halted = make_run(tmp_path / "halted", config=config, inputs=inputs)

    def interrupted_while_judging(_run: RunDirectory) -> str | None:
        progress = json.loads((halted / "progress.json").read_text())
        return "interrupt" if progress["phase"] == "evaluating" else None

    assert run(whole) == 0
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "should_stop", interrupted_while_judging)
        assert run(halted) == 0
    ended = status(halted)
    trained = [row["step"] for row in metrics(halted)]
    assert run(halted) == 0

    assert (ended["state"], ended["step"]) == ("interrupted", trained[-1])
    assert metrics(halted)[: len(trained)] == [
        row | {"time": ours["time"], "pm/comparisons_per_second": ours["pm/comparisons_per_second"]}
        for row, ours in zip(metrics(whole), metrics(halted)[: len(trained)], strict=False)
    ]  # none was trained again
    assert status(halted)["results"] == status(whole)["results"]
    last = status(whole)["checkpoint"]
    assert file_sha256(halted / last / "model.safetensors") == file_sha256(
        whole / last / "model.safetensors"
    )


@pytest.mark.parametrize("halt", ["interrupt", "stop"])
def test_a_halt_between_two_models_leaves_the_finished_one_as_it_is(
    initial: Path, release: Path, tmp_path: Path, monkeypatch, halt: str
):
    config = CONFIG | {"batch_comparisons": 4, "disjoint_models": 2, "keep_checkpoints": 3}
    inputs = {"initial": initial, "release": release}
    whole = make_run(tmp_path / "whole", config=config, inputs=inputs)
    halted = make_run(tmp_path / "halted", config=config, inputs=inputs)
    finish = PreferenceTrainer._finish

    def finish_and_ask_to_halt(trainer: PreferenceTrainer) -> None:
        finish(trainer)
        if halt == "stop":
            (halted / "stop.json").write_text("{}")
        trainer.run._interrupted = halt == "interrupt"

    assert run(whole) == 0
    with monkeypatch.context() as patched:
        patched.setattr(PreferenceTrainer, "_finish", finish_and_ask_to_halt)
        assert run(halted) == 0
    ended = status(halted)
    (halted / "stop.json").unlink(missing_ok=True)
    assert run(halted) == 0

    test_pm = status(whole)["results"]["test_pm_checkpoint"]
    assert ended["state"] == {"interrupt": "interrupted", "stop": "stopped"}[halt]
    assert ended["checkpoint"] == test_pm
    for checkpoint in (test_pm, status(whole)["checkpoint"]):
        sums = {file_sha256(each / checkpoint / "model.safetensors") for each in (whole, halted)}
        assert len(sums) == 1


def test_a_gradient_that_is_not_finite_stops_before_the_step(
    initial: Path, release: Path, tmp_path: Path
):
    config = CONFIG | {"batch_comparisons": 4, "learning_rate": 1e30, "checkpoint_every": 1}
    path = make_run(
        tmp_path / "run", config=config, inputs={"initial": initial, "release": release}
    )

    assert run(path) == 3

    assert "not finite" in status(path)["reason"]
    kept = sorted(each.name for each in (path / "checkpoints").iterdir())
    for name in kept:
        weights = load_preference_model(path / "checkpoints" / name).model.state_dict().values()
        assert all(torch.isfinite(weight).all() for weight in weights)
