"""The memory that a run asks for: by hand, apart for what adapters leave as it is, and with the number to change."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import LlamaConfig

from modelserving.core import host_memory
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.test_lora import LORA
from tests.training.core.test_ppo_training import CONFIG as PPO
from tests.training.core.test_preference_training import CONFIG as PM
from tests.training.core.test_preference_training import status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.core.__main__ import REFUSED, run
from training.core.preflight import WEIGHTS, packed_training_bytes

WIDE = {"intermediate_size": 8192}  # 1.6 million weights, and few numbers per token
SHORT_PPO = {
    "steps": 1, "batch_prompts": 3, "samples_per_prompt": 1, "value_network": "shared",
    "max_prompt_tokens": 32, "max_response_tokens": 4, "normalize_scores": False,
    "held_out_prompts": 2,
}  # fmt: skip
Available = Callable[[int], None]


@pytest.fixture
def available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Available:
    """Sets how many megabytes the system says are there."""

    def say(megabytes: int) -> None:
        path = tmp_path / "meminfo"
        path.write_text(f"MemTotal: 80000000 kB\nMemAvailable: {megabytes * 1000} kB\n")
        monkeypatch.setattr(host_memory, "MEMINFO", path)

    return say


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_language_model(folder / "initial", **WIDE)
    make_tiny_language_model(folder / "narrow")
    make_tiny_preference_model(folder / "ranker")
    train, test = [row(index) for index in range(8)], [row(index) for index in range(100, 104)]
    release = make_release(folder / "release", train=train, test=test)
    names = ("initial", "narrow", "ranker")
    return {name: folder / name for name in names} | {"release": release}


def test_the_estimate_of_memory_by_hand() -> None:
    shape = LlamaConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    counts = {"trained": 1000, "frozen": 100, "tokens": 10}

    alone = packed_training_bytes(**counts, shapes=[shape], threads=1)
    side_by_side = packed_training_bytes(**counts, shapes=[shape, shape], threads=2, logits=70)

    weights = 16 * 1000 + 4 * 100
    row = 30 * 4 * 10 * 8 * 2
    assert alone == {WEIGHTS: weights, "threads": 4 * 1000, "micro_tokens": row}
    both = {"threads": 2 * 2 * 4 * 1000, "micro_tokens": 2 * row + 8 * 70}
    assert side_by_side == {WEIGHTS: weights, **both}


@pytest.mark.parametrize(
    ("stored", "roles"),
    [
        (PM | {"batch_comparisons": 1}, ("initial", "release")),
        (PPO | SHORT_PPO, ("initial", "ranker", "release")),
    ],
)
def test_what_adapters_leave_as_it_is_needs_less_memory(
    inputs: dict[str, Path], tmp_path: Path, available: Available, stored: dict, roles: tuple
) -> None:
    given = {role: inputs[role] for role in roles}
    whole = make_run(tmp_path / "whole", config=stored, inputs=given)
    adapted = make_run(tmp_path / "adapted", config=stored | {"lora": LORA}, inputs=given)
    available(20)

    ended = run(whole), run(adapted)

    assert ended == (REFUSED, 0)
    assert f"lower {WEIGHTS}" in status(whole)["reason"]


def test_rows_are_as_long_as_the_steps_make_them(
    inputs: dict[str, Path], tmp_path: Path, available: Available
) -> None:
    given = {"initial": inputs["narrow"], "release": inputs["release"]}
    settings = PM | {"batch_comparisons": 8}
    whole = settings | {"micro_tokens": 10**9}
    long, short = (
        make_run(tmp_path / name, config=each, inputs=given)
        for name, each in (("long", whole), ("short", settings | {"micro_tokens": 128}))
    )
    available(2)

    ended = run(long), run(short)

    assert ended == (REFUSED, 0)
    assert "lower micro_tokens" in status(long)["reason"]


@pytest.mark.parametrize(
    ("kind", "roles"),
    [("best_of_k", ["initial", "ranker", "release"]), ("evaluation", ["initial", "release"])],
)
def test_checkpoints_that_memory_cannot_hold_are_refused_before_they_are_read(
    available: Available,
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    roles: list[str],
) -> None:
    monkeypatch.setattr(
        "modelserving.lm.loading._load", lambda *_, **__: pytest.fail("it was read")
    )
    available(4)  # the larger checkpoint has 1.6 million numbers
    config = {"kind": kind, "device": "cpu"}
    path = make_run(tmp_path / "run", config=config, inputs={name: inputs[name] for name in roles})

    assert run(path) == REFUSED

    reason = status(path)["reason"]
    assert "lower the size of the models" in reason
    assert not (path / "checkpoints").exists()
