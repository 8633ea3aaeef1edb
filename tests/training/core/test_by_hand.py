"""What whoever runs a run directory by hand is told: usage, the log as it is written, and how it ended."""

import io
import logging
from pathlib import Path

import pytest

from tests.training.core.tiny import make_run
from training.core import __main__ as by_hand
from training.core.outcome import Outcome
from training.core.run_directory import RunDirectory


def log_a_line(run: RunDirectory, _config: object) -> Outcome:
    """A run kind of this test."""
    run.log("half way")
    return Outcome(state="stopped", step=7)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(by_hand, "keep_freed_memory", lambda: None)  # not of the tests' process
    monkeypatch.setitem(by_hand.TRAINERS, "evaluation", f"{__name__}:log_a_line")
    return make_run(tmp_path / "run", config={"kind": "evaluation"}, inputs={})


def test_the_end_is_told_in_a_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = path / "checkpoints" / "step-000007"

    assert by_hand.main([str(path)]) == 0
    assert capsys.readouterr().out == "stopped at step 7\n"

    checkpoint.mkdir(parents=True)
    assert by_hand.main([str(path)]) == 0
    assert capsys.readouterr().out == f"stopped at step 7: {checkpoint}\n"


def test_the_log_can_be_followed(path: Path) -> None:
    ours = logging.getLogger("training.core")
    shown, level = io.StringIO(), ours.level
    try:
        by_hand.follow(shown)  # type: ignore[arg-type]
        by_hand.run(path)
    finally:
        ours.handlers.pop()
        ours.setLevel(level)

    assert "half way\n" in shown.getvalue()


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("-h", 0), ("--resume", 2)])
def test_usage_is_told(word: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert by_hand.main([word]) == code

    assert "training.core.new_run makes one" in capsys.readouterr().err
