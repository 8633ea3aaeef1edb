"""Checkpoints survive a crash at any file or rename, and damage to any file, by falling back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modelserving.core import artifacts
from modelserving.core.artifacts import ArtefactError, verify
from tests.training.core.dying import deaths
from training.core.checkpointing import (
    ResumeState,
    all_checkpoints,
    clear_up,
    newest_resume,
    optimizer_tensors,
    prune,
    read_resume,
    restore_optimizer,
    set_aside,
    write_checkpoint,
)


def write_weights(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "config.json").write_text("{}")


def save(checkpoints: Path, step: int) -> Path:
    return write_checkpoint(
        checkpoints,
        step=step,
        write_weights=write_weights,
        resume=ResumeState(
            step=step, tensors={"w": torch.full((3,), float(step))}, scalars={"seen": [step]}
        ),
        kind="policy",
        parents=["parent"],
        config={},
        code="",
    )


def newest_step(checkpoints: Path) -> int | None:
    clear_up(checkpoints)
    found = newest_resume(checkpoints, report=lambda _: None)
    return None if found is None else found[1].step


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = read_resume(save(tmp_path, 7))

    assert state.step == 7
    assert torch.equal(state.tensors["w"], torch.full((3,), 7.0))
    assert state.scalars == {"seen": [7]}


def test_resume_state_is_no_part_of_the_published_weights(tmp_path: Path) -> None:
    assert set(verify(save(tmp_path, 1)).files) == {"model.safetensors", "config.json"}


def test_a_crash_at_any_file_operation_leaves_a_checkpoint_that_verifies(tmp_path: Path) -> None:
    def with_one(nth: int) -> Path:
        save(tmp_path / str(nth), 1)
        return tmp_path / str(nth)

    for checkpoints in deaths(prepare=with_one, act=lambda died: save(died, 2), at_least=20):
        assert newest_step(checkpoints) in (1, 2)
        save(checkpoints, 2)  # the next attempt writes the same step
        assert newest_step(checkpoints) == 2


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: list[Callable[[Path], None]] = [
    lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    flip,
    lambda path: path.unlink(),
    lambda path: path.write_bytes(b""),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_falls_back_to_the_one_before(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    names = [
        path.relative_to(tmp_path / "sample" / "step-000002")
        for path in save(tmp_path / "sample", 2).rglob("*")
        if path.is_file()
    ]
    assert len(names) == 6
    for number, name in enumerate(names):
        checkpoints = tmp_path / str(number)
        save(checkpoints, 1)
        save(checkpoints, 2)

        damage(checkpoints / "step-000002" / name)

        if name.name == "manifest.json" and damage is flip:  # may hit a byte that says little
            assert newest_step(checkpoints) in (1, 2)
        else:
            assert newest_step(checkpoints) == 1, name


def test_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 1)

    def no_space(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_checkpoint(
            tmp_path, step=2, write_weights=no_space, resume=None, kind="policy", parents=[],
            config={}, code="",
        )  # fmt: skip

    assert newest_step(tmp_path) == 1
    assert [path.name for path in all_checkpoints(tmp_path)] == ["step-000001"]


@pytest.mark.parametrize("name", ["model.safetensors", "resume/state.safetensors"])
def test_what_was_damaged_on_its_way_to_the_disk_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save(tmp_path, 1)
    write_durably = artifacts.write_durably

    def write_and_damage(path: Path, text: str) -> None:
        write_durably(path, text)
        if path.parent.name == "step-000001.partial":  # the last file: all others were hashed
            flip(path.parent / name)

    monkeypatch.setattr(artifacts, "write_durably", write_and_damage)

    with pytest.raises(ArtefactError, match="was changed or damaged"):
        save(tmp_path, 1)

    assert newest_step(tmp_path) == 1


def test_nothing_to_resume_is_none(tmp_path: Path) -> None:
    assert newest_step(tmp_path / "absent") is None


def test_pruning_keeps_the_newest_and_milestones_without_their_state(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)

    prune(tmp_path, keep=2, milestones={"step-000001"})

    kept = [path.name for path in all_checkpoints(tmp_path)]
    assert kept == ["step-000001", "step-000003", "step-000004"]
    assert not (tmp_path / "step-000001" / "resume").exists()
    assert verify(tmp_path / "step-000001").kind == "policy"
    with pytest.raises(ArtefactError):
        read_resume(tmp_path / "step-000001")


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (999_999, 1_000_000):
        save(tmp_path, step)

    assert newest_step(tmp_path) == 1_000_000
    prune(tmp_path, keep=1, milestones=set())
    assert [path.name for path in all_checkpoints(tmp_path)] == ["step-1000000"]


def test_what_a_run_no_longer_goes_on_from_makes_no_room_for_itself(tmp_path: Path) -> None:
    for step in (100, 200, 300):
        save(tmp_path, step)
    for step in (200, 300):
        (tmp_path / f"step-{step:06d}" / "resume" / "state.safetensors").write_bytes(b"torn")
    found = newest_resume(tmp_path, report=lambda _: None)
    assert found is not None

    names = set_aside(tmp_path, after=found[0])

    assert names == ["step-000200", "step-000300"]
    for step in (125, 150):
        save(tmp_path, step)
        prune(tmp_path, keep=1, milestones=set())
        assert newest_step(tmp_path) == step
    assert (tmp_path / "step-000300.aside" / "model.safetensors").is_file()


def test_without_a_sound_checkpoint_all_are_set_aside(tmp_path: Path) -> None:
    save(tmp_path, 1)

    assert set_aside(tmp_path, after=None) == ["step-000001"]
    assert all_checkpoints(tmp_path) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda ps: torch.optim.AdamW(ps, lr=0.1, betas=(0.9, 0.95)),
        lambda ps: torch.optim.Muon(ps, lr=0.1, momentum=0.9),
    ],
)
def test_an_optimizer_goes_on_bit_for_bit(
    tmp_path: Path, make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
) -> None:
    def step(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        parameter.grad = torch.sin(parameter.detach())
        optimizer.step()

    torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = make([whole])
    step(whole, optimizer)
    halfway = whole.detach().clone()
    stored = {k: v.clone() for k, v in optimizer_tensors(optimizer, prefix="o").items()}
    step(whole, optimizer)

    resumed = torch.nn.Parameter(halfway)
    again = make([resumed])
    restore_optimizer(again, tensors=stored, prefix="o")
    step(resumed, again)

    assert torch.equal(whole, resumed)


def test_fsync_reaches_every_file_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    original = artifacts.fsync_path

    def note(path: Path) -> None:
        synced.add(path.name)
        original(path)

    monkeypatch.setattr(artifacts, "fsync_path", note)
    final = save(tmp_path, 1)

    written = {path.name for path in final.rglob("*")}
    assert written <= synced
    shutil.rmtree(final)
