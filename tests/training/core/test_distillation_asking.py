"""The teacher is asked once: a kill, a halt or damage among the questions costs a shard, not the answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from modelserving.core.artifacts import file_sha256, verify
from tests.training.core.distilling import config, make_start, stop_after
from tests.training.core.tiny import make_run
from training.core import distillation_teacher
from training.core.__main__ import run
from training.core.distillation_loss import TopLogprobs
from training.core.distillation_teacher import ask_teacher
from training.core.run_directory import RunDirectory


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_start(tmp_path_factory.mktemp("distillation"))


def asked_rows(monkeypatch: pytest.MonkeyPatch, *, die_at: int = -1) -> list[int]:
    """How many sequences the teacher is asked at once, in shards of ten; it dies at this question."""
    asked: list[int] = []

    def ask(*arguments: Any, ids: Tensor, **named: Any) -> TopLogprobs:
        if len(asked) == die_at:
            raise KeyboardInterrupt
        asked.append(len(ids))
        return ask_teacher(*arguments, ids=ids, **named)

    monkeypatch.setattr(distillation_teacher, "SHARD", 10)
    monkeypatch.setattr(distillation_teacher, "ask_teacher", ask)
    return asked


def test_an_attempt_that_died_among_the_questions_asks_for_the_rest_alone(
    start: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(tmp_path / "whole", config=config(), inputs=start)
    halved = make_run(tmp_path / "halved", config=config(), inputs=start)
    assert run(whole) == 0
    with monkeypatch.context() as patched:
        first = asked_rows(patched, die_at=2)
        with pytest.raises(KeyboardInterrupt):
            run(halved)
    standing = halved / "teacher.partial"
    (standing / "train-00002.safetensors.partial").write_bytes(b"half")
    (standing / "train-00001.safetensors").write_bytes(b"damaged")
    second = asked_rows(monkeypatch)

    assert run(halved) == 0

    assert (first, second) == ([10, 10], [10, 4, 4])
    kept = sorted(path.name for path in (halved / "teacher").glob("*.safetensors*"))
    assert kept == [
        f"{name}.safetensors"
        for name in ("train-00000", "train-00001", "train-00002", "valid-00000")
    ]
    final = [path / "checkpoints" / "step-000012" / "model.safetensors" for path in (whole, halved)]
    assert file_sha256(final[0]) == file_sha256(final[1])


@pytest.mark.parametrize(
    ("halt", "code", "state"), [("interrupt", 0, "interrupted"), ("stop", 0, "stopped")]
)
def test_the_asking_can_be_halted(
    start: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    halt: str,
    code: int,
    state: str,
) -> None:
    path = make_run(tmp_path / "run", config=config(), inputs=start)
    asked = asked_rows(monkeypatch)
    monkeypatch.setattr(RunDirectory, "should_stop", lambda _: halt if asked else None)

    assert run(path) == code

    status = json.loads((path / "status.json").read_text())
    assert (status["state"], status["step"], asked) == (state, 0, [10])


def test_answers_that_were_changed_are_asked_again(
    start: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_run(tmp_path / "run", config=config(epochs=1), inputs=start)
    with monkeypatch.context() as patched:
        stop_after(1, path=path, monkeypatch=patched)
        assert run(path) == 0
    (path / "stop.json").unlink()
    (path / "teacher" / "train-00000.safetensors").write_bytes(b"damaged")

    assert run(path) == 0

    verify(path / "teacher")
    assert "they are asked again" in (path / "log.txt").read_text()
