"""A run directory: inputs by hash, rows that never repeat a step, and a status that says why."""

import json
import math
import os
import shutil
import signal
from pathlib import Path

import pytest

from modelserving.core import host_memory
from modelserving.core.artifacts import utc_now, write_manifest
from tests.training.core.tiny import language_model_config, make_run
from training.core.__main__ import REFUSED, main, run
from training.core.checkpointing import ResumeState
from training.core.outcome import NonFinite
from training.core.preflight import TooLittleRoom, require_memory
from training.core.run_directory import InputRefused, RunDirectory


def write_weights(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    directory = tmp_path / "release"
    directory.mkdir()
    (directory / "train.jsonl.gz").write_bytes(b"rows")
    write_manifest(directory, kind="release", parents=[], config={}, code="", created=utc_now())
    return directory


@pytest.fixture
def directory(tmp_path: Path, release: Path) -> RunDirectory:
    config = language_model_config(keep_checkpoints=1)
    return RunDirectory(make_run(tmp_path / "run", config=config, inputs={"release": release}))


def test_inputs_are_found_and_verified(directory: RunDirectory, release: Path) -> None:
    assert directory.inputs("release") == release.resolve()


def test_a_relative_path_counts_from_the_run_directory(
    directory: RunDirectory, release: Path
) -> None:
    path = directory.path / "inputs.json"
    stored = json.loads(path.read_text())
    stored["release"]["path"] = "../release"
    path.write_text(json.dumps(stored))

    assert RunDirectory(directory.path).inputs("release") == release.resolve()


def test_wrong_inputs_are_refused_by_role(directory: RunDirectory, release: Path) -> None:
    with pytest.raises(InputRefused, match="no ranker"):
        directory.inputs("ranker")
    (release / "train.jsonl.gz").write_bytes(b"ROWS")
    with pytest.raises(InputRefused, match=r"the release cannot be used.*train"):
        directory.inputs("release")
    (release / "manifest.json").unlink()
    write_manifest(release, kind="release", parents=[], config={}, code="", created=utc_now())
    with pytest.raises(InputRefused, match="was changed"):
        directory.inputs("release")


def test_an_input_is_hashed_once(directory: RunDirectory, release: Path) -> None:
    first = directory.inputs("release")
    (release / "train.jsonl.gz").write_bytes(b"ROWS")

    assert directory.inputs("release") == first  # a checkpoint hashes no start again
    with pytest.raises(InputRefused):
        RunDirectory(directory.path).inputs("release")  # the next attempt does


def test_progress_tells_step_phase_and_time(directory: RunDirectory) -> None:
    directory.progress(0, 10, "training")
    directory.progress(5, 10, "training")

    stored = json.loads((directory.path / "progress.json").read_text())
    assert (stored["step"], stored["total_steps"], stored["phase"]) == (5, 10, "training")
    assert stored["seconds_left"] >= 0
    assert stored["alive_at"].endswith("+00:00")


def test_each_count_has_a_pace_of_its_own(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((0.0, 100.0, 200.0, 202.0))  # a hundred seconds a sequence, then two a step
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    for step, total in ((0, 20), (1, 20), (0, 5), (1, 5)):
        directory.progress(step, total, "training")

    assert json.loads((directory.path / "progress.json").read_text())["seconds_left"] == 8.0


def test_after_the_last_step_the_time_left_is_not_known(directory: RunDirectory) -> None:
    for step in range(3):
        directory.progress(step, 2, "training")
    directory.progress(2, 2, "evaluating")

    assert json.loads((directory.path / "progress.json").read_text())["seconds_left"] is None


def test_resuming_drops_rows_that_will_be_computed_again(directory: RunDirectory) -> None:
    directory.publish_checkpoint(
        step=2, write=write_weights, kind="policy", parents=[], resume=ResumeState(step=2)
    )
    for step in (1, 2, 3):
        directory.metrics(step, {"a": step})
    with (directory.path / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 4, "a"')  # a crash cut this row

    state = RunDirectory(directory.path).load_resume()

    assert state is not None
    assert state.step == 2
    assert [row["step"] for row in directory.rows("metrics.jsonl")] == [1, 2]


def test_rows_with_line_separators_in_their_text_outlive_a_resume(
    directory: RunDirectory,
) -> None:
    text = "one\u2028two\u2029three\u0085four"
    directory.sample(1, {"response": text})
    directory.publish_checkpoint(
        step=2, write=write_weights, kind="policy", parents=[], resume=ResumeState(step=2)
    )

    RunDirectory(directory.path).load_resume()

    assert directory.rows("samples.jsonl") == [{"step": 1, "response": text}]


def test_milestones_outlive_a_crash(directory: RunDirectory) -> None:
    def publish(run_directory: RunDirectory, step: int, *, milestone: bool) -> None:
        run_directory.publish_checkpoint(
            step=step, write=write_weights, kind="policy", parents=[],
            resume=ResumeState(step=step), milestone=milestone,
        )  # fmt: skip

    publish(directory, 1, milestone=True)
    publish(directory, 2, milestone=False)
    publish(RunDirectory(directory.path), 3, milestone=False)

    kept = sorted(path.name for path in directory.checkpoints.iterdir())
    assert kept == ["step-000001", "step-000003"]


def test_a_resumed_run_names_the_checkpoint_it_made_and_not_a_damaged_later_one(
    directory: RunDirectory,
) -> None:
    def publish(run_directory: RunDirectory, step: int) -> None:
        run_directory.publish_checkpoint(
            step=step, write=write_weights, kind="policy", parents=[],
            resume=ResumeState(step=step), milestone=step == 6,
        )  # fmt: skip

    publish(directory, 4)
    kept = shutil.copytree(directory.checkpoints / "step-000004", directory.path / "kept")
    publish(directory, 6)
    kept.rename(directory.checkpoints / "step-000004")
    (directory.checkpoints / "step-000006" / "model.safetensors").write_bytes(b"torn")
    again = RunDirectory(directory.path)
    state = again.load_resume()
    assert state is not None
    assert state.step == 4

    publish(again, 5)
    again.finish("stopped", step=5)

    said = json.loads((directory.path / "status.json").read_text())
    assert said["checkpoint"] == "checkpoints/step-000005"
    assert json.loads((directory.path / "milestones.json").read_text()) == {"kept": []}


def test_a_metric_that_is_not_finite_ends_the_run(directory: RunDirectory) -> None:
    directory.metrics(1, {"score": 0.5, "unit": "nats"})

    with pytest.raises(NonFinite, match="test_pm_score is not finite at step 2"):
        directory.metrics(2, {"score": 0.5, "test_pm_score": math.nan})

    assert [row["step"] for row in directory.rows("metrics.jsonl")] == [1]


def test_a_status_is_json_whatever_was_measured(directory: RunDirectory) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    directory.finish("failed", step=3, results={"loss": {"a": math.nan, "b": [math.inf, 1.5]}})

    status = json.loads((directory.path / "status.json").read_text(), parse_constant=refuse)
    assert status["results"] == {"loss": {"a": None, "b": [None, 1.5]}}


def test_stop_and_interrupt_are_seen(directory: RunDirectory) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        directory.catch_interrupts()
        assert directory.should_stop() is None
        (directory.path / "stop.json").write_text("{}")
        assert directory.should_stop() == "stop"
        os.kill(os.getpid(), signal.SIGTERM)
        assert directory.should_stop() == "interrupt"
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_too_little_disk_is_refused_with_the_number(directory: RunDirectory) -> None:
    with pytest.raises(
        TooLittleRoom, match=r"2 checkpoints need 2000000000000 MB: free \d+ MB more$"
    ):
        directory.require_space(10**18)


def test_room_is_asked_for_the_checkpoints_that_are_still_to_come(
    tmp_path: Path, release: Path
) -> None:
    config = language_model_config(keep_checkpoints=2)
    run = RunDirectory(make_run(tmp_path / "run", config=config, inputs={"release": release}))
    two_fifths = shutil.disk_usage(tmp_path).free * 2 // 5
    half = run.checkpoints / "step-000009.partial"

    with pytest.raises(TooLittleRoom, match=r"3 checkpoints need .*lower keep_checkpoints, now 2"):
        run.require_space(two_fifths)  # two are kept, and the third comes before the first goes

    for step in (1, 2):
        run.publish_checkpoint(
            step=step, write=write_weights, kind="policy", parents=[],
            resume=ResumeState(step=step), milestone=False,
        )  # fmt: skip
    half.mkdir()
    run.require_space(2 * two_fifths)  # one more
    assert not half.exists()  # what will be removed takes no room


def test_too_little_memory_is_refused_with_the_number_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000 kB\nMemAvailable:    1000 kB\n")
    monkeypatch.setattr(host_memory, "MEMINFO", meminfo)

    require_memory(needed_bytes=1_000_000, lower="batch_blocks")
    with pytest.raises(TooLittleRoom, match=r"about 2 MB: lower batch_blocks"):
        require_memory(needed_bytes=2_000_000, lower="batch_blocks")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", "{", "not valid JSON"),
        ("config.json", "[]", "no object of named values"),
        ("config.json", '{"kind": "poem"}', "poem"),
        ("config.json", None, "is not there"),
        ("inputs.json", None, "is not there"),
    ],
)
def test_a_broken_run_directory_says_so_in_its_status(
    directory: RunDirectory, name: str, content: str | None, reason: str
) -> None:
    if content is None:
        (directory.path / name).unlink()
    else:
        (directory.path / name).write_text(content)

    assert run(directory.path) == REFUSED

    status = json.loads((directory.path / "status.json").read_text())
    assert status["state"] == "failed"
    assert reason in status["reason"]


def test_the_command_needs_one_run_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == REFUSED
    assert "usage" in capsys.readouterr().err
