"""What a run publishes outlives a death at any file operation, and stays while it is wanted."""

from pathlib import Path

import pytest

from modelserving.core.artifacts import verify
from tests.training.core.dying import deaths
from tests.training.core.tiny import language_model_config, make_run
from training.core.checkpointing import ResumeState
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
