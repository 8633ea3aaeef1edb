"""Runs of the starter that multiply in 16-bit whole numbers end, killed and resumed, on the bits of a whole run."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from modelserving.core.artifacts import file_sha256
from modelserving.lm import products
from tests.training.core.killing import kill_at
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.bench.workload import STARTER
from training.core.__main__ import run

COMMON = {"device": "cpu", "threads": 2, "precision": "int16", "checkpoint_every": 1}
PREFERENCE_MODEL = {
    "kind": "preference_model", "batch_comparisons": 8, "max_tokens": 128, **COMMON,
}  # fmt: skip
PPO = {
    "kind": "ppo", "steps": 2, "batch_prompts": 4, "samples_per_prompt": 2, "minibatches": 2,
    "inner_epochs": 2, "max_prompt_tokens": 64, "max_response_tokens": 12, "kl_weight": 0.001, **COMMON,
}  # fmt: skip


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    if not products.has_int16_products():
        pytest.skip(f"no products in int16 here: {products.NEEDS}")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    products.multiply_in_int16(is_on=False)


def whole_and_killed(folder: Path, *, config: dict, inputs: dict[str, Path]) -> list[Path]:
    """The checkpoints of a run and of its like that died once."""
    whole = make_run(folder / "whole", config=config, inputs=inputs)
    killed = make_run(folder / "killed", config=config, inputs=inputs)
    assert run(whole) == 0
    assert products.multiplies_in_int16()
    last = max(each["step"] for each in metrics(whole))
    kill_at(killed, step=random.randint(1, last))
    assert run(killed) == 0
    return [each / status(each)["checkpoint"] for each in (whole, killed)]


@pytest.mark.timeout(300)
def test_a_preference_model_and_a_policy_that_it_ranks(tmp_path: Path):
    train, test = [row(index) for index in range(24)], [row(index) for index in range(100, 108)]
    release = make_release(tmp_path / "release", train=train, test=test)
    inputs = {"initial": STARTER, "release": release}

    rankers = whole_and_killed(tmp_path / "pm", config=PREFERENCE_MODEL, inputs=inputs)
    policies = whole_and_killed(
        tmp_path / "ppo", config=PPO, inputs=inputs | {"ranker": rankers[0]}
    )

    for whole, killed in (rankers, policies):
        sums = {file_sha256(each / "model.safetensors") for each in (whole, killed)}
        assert len(sums) == 1
    assert file_sha256(policies[0] / "model.safetensors") != file_sha256(
        STARTER / "model.safetensors"
    )
