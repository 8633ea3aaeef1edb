"""What a run publishes outlives a death at any file operation, and stays while it is wanted."""

import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest

from modelserving.core.artifacts import verify
from tests.training.core.dying import deaths
from tests.training.core.tiny import language_model_config, make_run
from training.core.__main__ import FELL_SHORT, TRAINERS
from training.core.__main__ import run as run_to_its_end
from training.core.checkpointing import ResumeState
from training.core.distributed import Ranks
from training.core.run_directory import RunDirectory


def write_weights(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"weights")


def new_run(path: Path) -> RunDirectory:
    return RunDirectory(make_run(path, config=language_model_config(keep_checkpoints=1), inputs={}))


def publish(run: RunDirectory, step: int, *, milestone: bool) -> None:
    run.publish_checkpoint(
        step=step, write=write_weights, kind="policy", parents=[], resume=ResumeState(step=step),
        milestone=milestone,
    )  # fmt: skip


@pytest.mark.parametrize("stood", [1, 2])  # 2: the milestone replaces a checkpoint of its own step
def test_a_milestone_outlives_a_death_at_any_file_operation(tmp_path: Path, stood: int) -> None:
    def begun(nth: int) -> RunDirectory:
        run = new_run(tmp_path / str(nth))
        publish(run, stood, milestone=False)
        return run

    def reach_the_milestone(run: RunDirectory) -> None:
        publish(run, 2, milestone=True)

    for died in deaths(prepare=begun, act=reach_the_milestone, at_least=20):
        run = RunDirectory(died.path)
        state = run.load_resume()
        assert state is not None
        if state.step < 2 or stood == 2:  # else nobody comes to the milestone again
            reach_the_milestone(run)
        for step in (3, 4):
            publish(run, step, milestone=False)

        names = sorted(path.name for path in run.checkpoints.iterdir())
        assert names == ["step-000002", "step-000004"]
        assert verify(run.checkpoints / "step-000002").kind == "policy"


def left_by_a_dead_attempt(run: RunDirectory) -> list[Path]:
    """A checkpoint that was half written, and one whose successor never took its place."""
    publish(run, 1, milestone=False)
    half, replaced = (
        run.checkpoints / name for name in ("step-000073.partial", "step-000002.replaced")
    )
    (half / "resume").mkdir(parents=True)
    write_weights(half)
    publish(run, 2, milestone=False)
    (run.checkpoints / "step-000002").rename(replaced)
    return [half, replaced]


def test_a_run_that_goes_on_clears_up_after_the_attempt_before(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    left_by_a_dead_attempt(run)

    state = run.load_resume()

    assert state is not None
    assert state.step == 2
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000002"]


def test_half_a_first_checkpoint_goes_too(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    (run.checkpoints / "step-000001.partial").mkdir(parents=True)

    assert run.load_resume() is None
    assert list(run.checkpoints.iterdir()) == []


def test_only_the_process_that_writes_clears_up(tmp_path: Path) -> None:
    left = left_by_a_dead_attempt(new_run(tmp_path / "run"))

    RunDirectory(tmp_path / "run", ranks=Ranks(rank=1)).load_resume()

    assert [path.exists() for path in left] == [True, True]


def publish_the_second(run: RunDirectory, _config: object) -> None:
    """A run kind of this test."""
    publish(run, 2, milestone=True)


def test_a_checkpoint_that_fills_the_disk_goes_so_that_the_end_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "run")
    publish(run, 1, milestone=False)
    opened = io.open

    def full(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode != "r" and list(run.checkpoints.glob("*.partial")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(file, mode, *arguments, **options)

    monkeypatch.setitem(TRAINERS, "language_model", f"{__name__}:publish_the_second")
    monkeypatch.setattr(io, "open", full)

    assert run_to_its_end(run.path) == FELL_SHORT

    status = json.loads((run.path / "status.json").read_text())
    assert status["reason"].endswith(
        "is full ([Errno 28] No space left on device): free some space"
    )
    assert status["checkpoints"] == ["checkpoints/step-000001"]
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000001"]
