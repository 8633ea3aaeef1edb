"""Two processes give the numbers of one, for every run kind, with whole copies and with weights in pieces."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from modelserving.core.artifacts import file_sha256
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core import several_runs
from tests.training.core.ppo_inputs import CONFIG as PPO
from tests.training.core.test_best_of_k import CONFIG as BEST_OF_K
from tests.training.core.test_best_of_k import rankings
from tests.training.core.test_distillation import config as distillation_config
from tests.training.core.test_lora import LORA
from tests.training.core.test_preference_training import CONFIG as PM
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import language_model_config, make_corpus, make_run
from tests.training.core.tiny_release import conversation, make_release, row
from training.core.__main__ import run

SHORT_PM = {"max_comparisons": 18, "batch_comparisons": 6, "micro_tokens": 128}
WITHOUT_ROWS = {"max_comparisons": 19}  # the last step has one: the second process has none
MIXED = [{"until": 1.0, "loss_on": "responses"}]
DISTILLATION = {"sequences": 8, "held_out_sequences": 3, "epochs": 1, "batch_size": 3}
ANSWERS = {"kind": "preference_pretraining", "batch_comparisons": 48}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run, its inputs by role, and what it must say alike on one and on two processes."""

    config: dict[str, Any]
    roles: dict[str, str]
    alike: tuple[str, ...]
    tolerance: float = 1e-4


TEXT = {"corpus": "corpus"}
COMPARED = {"initial": "initial", "release": "release"}
JUDGED = COMPARED | {"ranker": "ranker"}
HELD_OUT = ("held_out/talk", "held_out/books")
PPO_NUMBERS = ("ppo/policy/loss", "ppo/value/loss", "objective/kl", "objective/score")
CASES = {
    "language_model": Case(
        config=language_model_config(steps=3, phases=MIXED, evaluate_every=3),
        roles=TEXT,
        alike=("lm/loss",),
    ),
    "language_model_muon": Case(
        config=language_model_config(steps=3, optimizer="muon", evaluate_every=3),
        roles=TEXT,
        alike=("lm/loss", *HELD_OUT),
        tolerance=2e-3,  # Muon multiplies in bfloat16
    ),
    "context_distillation": Case(
        config=distillation_config(**DISTILLATION),
        roles={"initial": "long", "corpus": "corpus"},
        alike=("distillation/kl", "held_out/kl"),
    ),
    "preference_pretraining": Case(
        config=PM | ANSWERS, roles={"initial": "initial", "answers": "answers"}, alike=("pm/loss",)
    ),
    "preference_model": Case(
        config=PM | SHORT_PM | {"disjoint_models": 2, "evaluate_every": 2},
        roles=COMPARED,
        alike=("pm/loss", "pm/accuracy", "pm/test_accuracy"),
    ),
    "preference_model_lora": Case(
        config=PM | SHORT_PM | WITHOUT_ROWS | {"lora": LORA, "activation_checkpointing": True},
        roles=COMPARED,
        alike=("pm/loss", "pm/accuracy"),
    ),
    "ppo": Case(config=PPO | {"steps": 2}, roles=JUDGED, alike=PPO_NUMBERS, tolerance=1e-3),
    "ppo_shared": Case(
        config=PPO | {"steps": 2, "value_network": "shared", "few_shot_prompts": 0.3, "lora": LORA},
        roles=JUDGED | {"test_pm": "ranker"},
        alike=(*PPO_NUMBERS, "objective/test_pm_score"),
        tolerance=1e-3,
    ),
    "best_of_k": Case(
        config=BEST_OF_K | {"prompts": 5}, roles=JUDGED, alike=("best_of_k/best", "best_of_k/mean")
    ),
}
KILLED = "preference_model_lora"
HALVED = "ppo-in-bfloat16"
pytestmark = pytest.mark.timeout(300)  # two dozen runs are made before the first test


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes of `several_runs`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*command, str(several_runs.__file__), *arguments],
        cwd=Path(__file__).parents[3], env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_language_model(folder / "initial")
    make_tiny_language_model(folder / "long", max_position_embeddings=2048)
    make_tiny_preference_model(folder / "ranker")
    train = [row(index) for index in range(24)] + conversation(9, turns=3)
    test = [row(index) for index in range(100, 108)]
    make_release(folder / "release", train=train, test=test)
    make_corpus(folder / "corpus")
    lines = [
        {
            "question": f"What is a dog {index}?",
            "answers": [{"text": "a small dog", "upvotes": 9}, {"text": "Hello", "upvotes": 0}],
        }
        for index in range(60)
    ]
    (folder / "answers").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {each.name: each for each in folder.iterdir()}


def make(path: Path, name: str, *, inputs: dict[str, Path], sharding: str) -> Path:
    case = CASES[name]
    named = {role: inputs[each] for role, each in case.roles.items()}
    return make_run(path, config=case.config | {"sharding": sharding}, inputs=named)


@pytest.fixture(scope="module")
def folder(inputs: dict[str, Path], tmp_path_factory) -> Path:
    """Every case run by one process, by two with copies, and by two with pieces; one killed on the way."""
    folder = tmp_path_factory.mktemp("runs")
    for name in CASES:
        assert run(make(folder / f"{name}-alone", name, inputs=inputs, sharding="none")) == 0
    paired = [
        make(folder / f"{name}-{sharding}", name, inputs=inputs, sharding=sharding)
        for name in CASES
        for sharding in ("none", "full")
    ]
    halved = make(folder / HALVED, "ppo", inputs=inputs, sharding="full")
    settings = json.loads((halved / "config.json").read_text())
    (halved / "config.json").write_text(json.dumps(settings | {"precision": "bfloat16"}))
    killed = make(folder / "killed", KILLED, inputs=inputs, sharding="full")
    settings = json.loads((killed / "config.json").read_text())
    (killed / "config.json").write_text(json.dumps(settings | {"checkpoint_every": 1}))
    died = torchrun("--die-at", "2", str(killed))
    assert died.returncode != 0
    assert metrics(killed)[-1]["step"] == 2
    ended = torchrun(*map(str, paired), str(halved), str(killed))
    assert ended.returncode == 0, ended.stderr[-4000:]
    return folder


@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_numbers_of_one(folder: Path, name: str, sharding: str):
    case = CASES[name]
    alone, paired = (metrics(folder / f"{name}-{each}") for each in ("alone", sharding))

    assert [each["step"] for each in paired] == [each["step"] for each in alone]
    for measure in case.alike:
        expected = [each[measure] for each in alone if measure in each]
        assert expected
        found = [each[measure] for each in paired if measure in each]
        assert found == pytest.approx(expected, rel=case.tolerance, abs=1e-5), measure
    ratios = [each.get("ppo/policy/first_ratio_error", 0.0) for each in paired]
    assert ratios == [0.0] * len(paired)


@pytest.mark.parametrize("name", [each for each in CASES if each != "best_of_k"])
def test_weights_that_lay_in_pieces_are_published_whole(folder: Path, name: str):
    alone, paired = folder / f"{name}-alone", folder / f"{name}-full"
    checkpoint = paired / status(paired)["checkpoint"]

    kind = AutoModelForCausalLM
    if name.startswith("preference"):
        kind = AutoModelForSequenceClassification
    kind.from_pretrained(checkpoint)

    expected = load_file(alone / status(alone)["checkpoint"] / "model.safetensors")
    found = load_file(checkpoint / "model.safetensors")
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert found[key].float().sub(tensor.float()).abs().max() < 5e-3, key


def test_policy_and_critic_in_pieces_learn_in_bfloat16(folder: Path):
    path = folder / HALVED

    assert status(path)["state"] == "done"
    assert metrics(path)[-1]["step"] == 2


def test_a_killed_run_in_pieces_resumes_to_the_same_weights(folder: Path):
    whole, killed = folder / f"{KILLED}-full", folder / "killed"

    sums = [
        file_sha256(each / status(each)["checkpoint"] / "model.safetensors")
        for each in (whole, killed)
    ]

    assert sums[0] == sums[1]
    assert status(whole)["results"] == status(killed)["results"]
    assert [each["pm/loss"] for each in metrics(whole)] == [
        each["pm/loss"] for each in metrics(killed)
    ]


def test_best_of_k_keeps_each_response_once(folder: Path):
    alone, paired = (
        rankings(folder / f"best_of_k-{each}" / "rollouts") for each in ("alone", "full")
    )

    assert [[r["text"] for r in each["responses"]] for each in paired] == [
        [r["text"] for r in each["responses"]] for each in alone
    ]
