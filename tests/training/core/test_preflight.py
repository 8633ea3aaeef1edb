"""The memory that a run asks for: by hand, apart for what adapters leave as it is, and with the number to change."""

import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from modelserving.core import host_memory
from modelserving.lm.loading import LoadedModel
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.ppo_inputs import CONFIG as PPO
from tests.training.core.test_lora import LORA
from tests.training.core.test_preference_training import CONFIG as PM
from tests.training.core.test_preference_training import status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.core import preference_training
from training.core.__main__ import FELL_SHORT, REFUSED, run
from training.core.preference_training import PreferenceTrainer
from training.core.preflight import WEIGHTS, TooLittleRoom, packed_training_bytes
from training.core.run_directory import RunDirectory

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
    counts = {"trained": 1000, "tokens": 10}

    alone = packed_training_bytes(**counts, shapes=[shape], threads=1)
    side_by_side = packed_training_bytes(**counts, shapes=[shape, shape], threads=2, logits=70)
    again = packed_training_bytes(**counts, shapes=[shape], threads=1, keeps_layers=False)

    row = 30 * 4 * 10 * 8 * 2
    assert alone == {WEIGHTS: 8 * 1000, "threads": 4 * 1000, "micro_tokens": row}
    both = {"threads": 2 * 2 * 4 * 1000, "micro_tokens": 2 * row + 8 * 70}
    assert side_by_side == {WEIGHTS: 8 * 1000, **both}
    assert again == alone | {"micro_tokens": (30 + 2) * 4 * 10 * 8}  # a layer, and between them


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
    available(18)

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


def test_the_second_of_two_models_is_trained_in_the_memory_of_the_first(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    trainers: weakref.WeakSet[PreferenceTrainer] = weakref.WeakSet()
    standing: list[int] = []
    read, made = preference_training.initial_preference_model, PreferenceTrainer.__init__

    def initial(*arguments: Any, **named: Any) -> LoadedModel:
        gc.collect()
        standing.append(len(trainers))
        return read(*arguments, **named)

    def make(trainer: PreferenceTrainer, **named: Any) -> None:
        trainers.add(trainer)
        made(trainer, **named)

    monkeypatch.setattr(preference_training, "initial_preference_model", initial)
    monkeypatch.setattr(PreferenceTrainer, "__init__", make)
    monkeypatch.setattr(
        preference_training, "require_memory_of", lambda parts: asked.append(sum(parts.values()))
    )
    given = {"initial": inputs["narrow"], "release": inputs["release"]}
    stored = PM | {"disjoint_models": 2, "batch_comparisons": 4}
    path = make_run(tmp_path / "run", config=stored, inputs=given)

    assert run(path) == 0

    assert standing == [0, 0]
    assert len(asked) == 1


def test_a_run_that_has_come_some_way_waits_for_memory(
    inputs: dict[str, Path], tmp_path: Path, available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"initial": inputs["narrow"], "release": inputs["release"]}
    path = make_run(tmp_path / "run", config=PM | {"batch_comparisons": 2}, inputs=given)
    halts = iter((None, "interrupt"))
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "should_stop", lambda _: next(halts))
        assert run(path) == 0
    assert status(path)["step"] == 1
    with monkeypatch.context() as patched:
        patched.setattr(host_memory, "MEMINFO", host_memory.MEMINFO)  # put back below
        available(0)
        assert run(path) == FELL_SHORT
    assert (status(path)["step"], "MB of memory are available" in status(path)["reason"]) == (
        1,
        True,
    )
    moved = inputs["release"].rename(tmp_path / "unmounted")

    absent = run(path)

    moved.rename(inputs["release"])
    assert absent == FELL_SHORT
    assert "is not there" in status(path)["reason"]
    assert run(path) == 0
    assert status(path)["state"] == "done"


def test_checkpoints_published_on_the_way_need_their_room(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PM | {"keep_checkpoints": 1}
    given = {"initial": inputs["narrow"], "release": inputs["release"]}
    directory = RunDirectory(make_run(tmp_path / "run", config=config, inputs=given))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * 16 + 10 * 4 - 1))

    directory.require_space(16)
    directory.require_space(16, milestones=9, milestone_bytes=4)
    with pytest.raises(TooLittleRoom, match=r"on the way need .*publish more rarely"):
        directory.require_space(16, milestones=10, milestone_bytes=4)
