"""The suite from a release to evaluation.json on tiny checkpoints: what it reads, refuses, and says on two processes."""

import json
from pathlib import Path

import pytest
import torch

from modelserving.lm.loading import load_language_model
from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.core.test_preference_training import status
from tests.training.core.test_ranks import torchrun
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.core.__main__ import run
from training.core.evaluation import activations
from training.core.evaluation.activations import last_token_activations, rounds
from training.core.evaluation.openings import read_openings, too_few
from training.core.evaluation.out_of_distribution import exposed_block, histogram

CONFIG = {
    "kind": "evaluation",
    "device": "cpu",
    "threads": 1,
    "suites": ["out_of_distribution"],
    "bootstrap_samples": 50,
}
TRAIN, TEST = 40, 20
LAYERS = 3


def said(text: str, *, objective: str, index: int = 0) -> dict:
    return row(index, messages=[{"role": "user", "content": text}], objective=objective)


def both_objectives(count: int, *, start: int) -> list[dict]:
    """Helpful requests in words, harmless ones in digits: easily told apart."""
    rows = []
    for index in range(start, start + count):
        rows.append(said(f"Tell me a story about a dog {index}", objective="helpful", index=index))
        rows.append(said(f"{index} 7 7 {index} 9 9", objective="harmless", index=index))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_language_model(folder / "policy", num_hidden_layers=LAYERS)
    train, test = both_objectives(TRAIN, start=10), both_objectives(TEST, start=10 + TRAIN)
    make_release(folder / "release", train=train, test=test)
    few = [said(f"and {n}?", objective="helpful") for n in range(20)] + both_objectives(4, start=90)
    make_release(folder / "few", train=train, test=few)
    return folder


def evaluated(path: Path, *, folder: Path, release: str = "release", **changes) -> Path:
    inputs = {"initial": folder / "policy", "release": folder / release}
    return make_run(path, config=CONFIG | changes, inputs=inputs)


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory) -> dict:
    path = evaluated(tmp_path_factory.mktemp("runs") / "run", folder=folder)
    assert run(path) == 0
    report = json.loads((path / "evaluation.json").read_text())["out_of_distribution"]
    assert status(path)["results"]["out_of_distribution"] == report["headline"]
    return report


def test_a_release_of_both_objectives_is_told_apart(found: dict):
    assert found["prompts"] == {
        "train helpful": TRAIN,
        "train harmless": TRAIN,
        "test helpful": TEST,
        "test harmless": TEST,
    }
    assert [each["layer"] for each in found["auroc_by_layer"]] == [1, 2, 3]
    assert all(each["mahalanobis"]["n"] == 2 * TEST for each in found["auroc_by_layer"])
    assert all(0 < each["shrinkage"] <= 1 for each in found["auroc_by_layer"])
    best = max(found["auroc_by_layer"], key=lambda each: each["relative"]["value"])
    assert found["headline"] == {"relative_auroc": best["relative"], "layer": best["layer"]}
    assert max(each["mahalanobis"]["value"] for each in found["auroc_by_layer"]) > 0.9
    assert found["exposed_layer"] == LAYERS
    assert [each["outliers"] for each in found["auroc_by_outliers"]] == [1, 2, 5, 10, 20]
    assert found["auroc_by_outliers"][-1]["auroc"]["value"] > 0.95
    scores = found["relative_scores"]
    assert (sum(scores["helpful"]), sum(scores["harmless"])) == (TEST, TEST)
    assert scores["layer"] == best["layer"]


def test_too_few_prompts_of_an_objective_are_refused_with_the_numbers(folder: Path, tmp_path: Path):
    path = evaluated(tmp_path / "run", folder=folder, release="few")

    assert run(path) == 2

    assert f"{TRAIN} helpful to fit on, {TRAIN} harmless to fit on" in status(path)["reason"]
    assert "24 helpful to judge by, 4 harmless to judge by" in status(path)["reason"]


def test_a_release_that_has_too_few_leaves_the_suite_out_unless_it_is_asked_for(
    folder: Path, tmp_path: Path
):
    paths = {
        name: evaluated(tmp_path / name, folder=folder, release=name, suites=[])
        for name in ("release", "few")
    }

    assert [run(path) for path in paths.values()] == [0, 0]

    usual = {"logprob_accuracy", "response_loss"}
    assert set(status(paths["release"])["results"]) == usual | {"out_of_distribution"}
    assert set(status(paths["few"])["results"]) == usual
    assert "out_of_distribution is left out" in (paths["few"] / "log.txt").read_text()


@pytest.mark.timeout(200)
def test_two_processes_say_what_one_does(folder: Path, tmp_path: Path, found: dict):
    paths = [
        evaluated(tmp_path / sharding, folder=folder, sharding=sharding)
        for sharding in ("none", "full")
    ]

    ended = torchrun(*map(str, paths))

    assert ended.returncode == 0, ended.stderr[-4000:]
    for path in paths:
        paired = json.loads((path / "evaluation.json").read_text())["out_of_distribution"]
        assert paired["prompts"] == found["prompts"]
        for ours, alone in zip(paired["auroc_by_layer"], found["auroc_by_layer"], strict=True):
            assert ours["shrinkage"] == pytest.approx(alone["shrinkage"], rel=1e-3)
            for score in ("mahalanobis", "relative"):
                assert ours[score] == pytest.approx(alone[score], abs=0.01)
        for ours, alone in zip(
            paired["auroc_by_outliers"], found["auroc_by_outliers"], strict=True
        ):
            assert ours["auroc"] == pytest.approx(alone["auroc"], abs=0.01)


def test_openings_are_first_messages_once_each_and_of_one_objective_alone(tmp_path: Path):
    later = said("How do I bake?", objective="helpful")
    later["messages"] = [
        *later["messages"],
        {"role": "assistant", "content": "With flour."},
        {"role": "user", "content": "Which?"},
    ]
    train = [
        said("How do I bake?", objective="helpful"),
        later,
        said(" Hello ", objective="helpful"),
        said("Hello", objective="harmless"),
        said("How do I steal?", objective="harmless"),
    ]
    release = make_release(tmp_path / "release", train=train, test=both_objectives(3, start=0))

    openings = read_openings(release, most=2)

    assert openings["train", "helpful"] == ["How do I bake?"]
    assert openings["train", "harmless"] == ["How do I steal?"]
    assert [len(openings["test", each]) for each in ("helpful", "harmless")] == [2, 2]
    assert read_openings(release, most=2) == openings
    assert "needs 10" in too_few(openings)


def test_activations_equal_transformers_hidden_states(folder: Path):
    policy = load_language_model(folder / "policy")
    prompts = [[5, 6, 7, 8], [9], [10, 11, 12], [5, 6]]

    found = last_token_activations(policy.model, prompts, blocks=[0, 2])

    policy.model.set_attn_implementation("eager")
    for index, prompt in enumerate(prompts):
        with torch.no_grad():
            said = policy.model(torch.tensor([prompt]), output_hidden_states=True).hidden_states
            normed = policy.model.base_model.norm(found[index, 1])  # transformers norms the last
        torch.testing.assert_close(found[index, 0], said[1][0, -1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(normed, said[LAYERS][0, -1], rtol=1e-4, atol=1e-5)


def test_blocks_are_read_in_as_many_rounds_as_memory_asks_for(
    folder: Path, tmp_path: Path, found: dict, monkeypatch: pytest.MonkeyPatch
):
    policy = load_language_model(folder / "policy")
    assert rounds(policy.model, prompts=120) == [[0, 1, 2]]
    monkeypatch.setattr(activations, "HELD_BYTES", 120 * 32 * 4 * 2)
    assert rounds(policy.model, prompts=120) == [[0, 1], [2]]
    assert rounds(policy.model, prompts=10_000) == [[0], [1], [2]]

    path = evaluated(tmp_path / "run", folder=folder)
    assert run(path) == 0

    assert json.loads((path / "evaluation.json").read_text())["out_of_distribution"] == found


def test_few_layers_are_read_at_the_last_more_in_the_middle():
    assert [exposed_block(layers) for layers in (1, 6, 7, 8, 32)] == [0, 5, 6, 4, 16]


def test_a_histogram_counts_every_score():
    scores = torch.cat([torch.linspace(0, 1, 50), torch.linspace(1, 2, 50), torch.tensor([1e6])])

    counts = histogram(scores.double(), helpful=50)

    assert (sum(counts["helpful"]), sum(counts["harmless"])) == (50, 51)
    assert counts["high"] < 1e6
    assert counts["harmless"][-1] >= 1
