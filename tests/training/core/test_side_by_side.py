"""Rows read by several threads: the gradients of one thread, the same bits every time, and nothing left switched."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from modelserving.core.artifacts import file_sha256
from modelserving.lm.packed_llama import leave_to_transformers
from modelserving.lm.threads import in_threads, threads_for
from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.core.ppo_inputs import CONFIG as PPO
from tests.training.core.test_ppo_training import inputs  # noqa: F401 -- a fixture
from tests.training.core.test_preference_training import CONFIG as PM
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import make_run
from training.core.__main__ import run
from training.core.batching import balanced_rows
from training.core.master_weights import MasterWeights
from training.core.side_by_side import add_gradients


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def gradients(threads: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    model[2].bias.requires_grad_(requires_grad=False)
    rows = list(torch.randn(5, 7, 8))

    def read(row: torch.Tensor) -> tuple[torch.Tensor, float]:
        loss = model(row).square().sum()
        return loss, float(row.sum())

    found = add_gradients(read, rows, parameters=list(model.parameters()), threads=threads)

    assert found == [float(row.sum()) for row in rows]
    assert model[2].bias.grad is None
    return [each.grad for each in model.parameters() if each.requires_grad]


def test_gradients_are_those_of_one_thread_and_the_same_bits_every_time():
    alone, first, second = gradients(1), gradients(2), gradients(2)

    torch.testing.assert_close(first, alone)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_in_bfloat16_are_summed_in_float32(threads: int):
    model = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    master = MasterWeights(model)
    rows = [1.0, 1.0, 2**-9, 2**-9, 2**-9, 2**-9]  # which bfloat16 loses beside 1

    def read(row: float) -> tuple[torch.Tensor, None]:
        return model(torch.tensor([row], dtype=torch.bfloat16)).sum(), None

    add_gradients(read, rows, parameters=list(model.parameters()), threads=threads)
    master.take_gradients()

    assert float(master.parameters["weight"].grad) == sum(rows)
    assert model.weight.grad is None


def test_threads_keep_order_and_grad_mode_and_give_the_setting_back():
    with torch.no_grad():
        found = in_threads(
            lambda item: (item, torch.get_num_threads(), torch.is_grad_enabled()),
            range(4),
            threads=2,
        )

    assert found == [(item, 1, False) for item in range(4)]
    assert torch.get_num_threads() == 2


def test_a_failure_in_a_thread_gives_the_setting_back():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 // item, [1, 0], threads=2)

    assert torch.get_num_threads() == 2


def test_there_are_as_many_rows_as_threads_can_share():
    lengths = [5, 4, 3, 3, 2, 2]

    rows = balanced_rows(lengths, row_tokens=7, multiple=2)

    assert [sum(lengths[index] for index in row) for row in rows] == [5, 4, 5, 5]
    assert len(balanced_rows([5], row_tokens=7, multiple=2)) == 1


def test_only_hand_written_blocks_are_read_side_by_side(tmp_path: Path):
    from modelserving.lm.loading import load_language_model

    make_tiny_language_model(tmp_path / "model")
    model = load_language_model(tmp_path / "model").model

    assert threads_for(model) == 2
    leave_to_transformers(model.base_model)
    assert threads_for(model) == 1


def test_two_threads_train_as_one_and_twice_alike(inputs: dict[str, Path], tmp_path: Path):  # noqa: F811
    models = {"initial": inputs["initial"], "release": inputs["release"]}
    config = PM | {"batch_comparisons": 8}
    paths = [
        make_run(tmp_path / name, config=config | {"threads": threads}, inputs=models)
        for name, threads in (("one", 1), ("two", 2), ("again", 2))
    ]

    assert [run(path) for path in paths] == [0, 0, 0]

    losses = [[each["pm/loss"] for each in metrics(path)] for path in paths]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[1] == losses[2]
    weights = [path / status(path)["checkpoint"] / "model.safetensors" for path in paths[1:]]
    assert file_sha256(weights[0]) == file_sha256(weights[1])


@pytest.mark.parametrize("value_network", ["separate", "shared"])
def test_the_ratio_is_one_with_two_threads(
    inputs: dict[str, Path],  # noqa: F811
    tmp_path: Path,
    value_network: str,
):
    config = PPO | {"threads": 2, "steps": 1, "value_network": value_network}
    config |= {"max_response_tokens": 3, "held_out_prompts": 2, "normalize_scores": False}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)

    assert run(path) == 0

    rows = metrics(path)[1:]
    assert [each["ppo/policy/first_ratio_error"] for each in rows] == [0.0]
    assert rows[0]["objective/kl_k3"] == 0.0
