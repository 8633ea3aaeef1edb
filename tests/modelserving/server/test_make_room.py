"""What leaves to make room for a checkpoint, and that nothing leaves in vain."""

from collections import deque
from pathlib import Path

import pytest
import torch

from modelserving.lm.sampler import Sampler
from modelserving.server.errors import Overloaded, Refused
from modelserving.server.jobs import ScoreJob
from tests.modelserving.server.in_process import (
    engine_of,
    policy,
    ranker,
    reader_of,
    serving_here,
)
from tests.tiny_checkpoints import make_tiny_language_model

BUDGET = 1 << 30


def test_what_could_never_fit_is_refused_and_everything_stays(tmp_path: Path) -> None:
    engine = engine_of(memory_bytes=BUDGET)
    policy(engine, tmp_path / "first")
    policy(engine, tmp_path / "second", seed=2)

    with pytest.raises(Refused) as refused:
        engine.memory.make_room(BUDGET + 1)

    assert refused.value.code == "memory_budget"
    assert list(engine.checkpoints) == ["first", "second"]


def test_what_does_not_fit_beside_what_is_in_use_lets_the_idle_stay(tmp_path: Path) -> None:
    engine = engine_of(memory_bytes=BUDGET)
    policy(engine, tmp_path / "idle")
    busy = ranker(engine, tmp_path / "busy")
    busy.score_jobs.append(ScoreJob(sequences=[], rows=deque()))

    with pytest.raises(Overloaded) as full:
        engine.memory.make_room(BUDGET - busy.bytes_used + 1)
    assert full.value.code == "memory_budget"
    assert list(engine.checkpoints) == ["idle", "busy"]

    engine.memory.make_room(BUDGET - busy.bytes_used)
    assert list(engine.checkpoints) == ["busy"]


def test_room_is_made_before_the_weights_are_read(tmp_path: Path) -> None:
    engine = engine_of()
    loaded = policy(engine, tmp_path / "policy")
    asked: list[int] = []

    def full(wanted: int) -> None:
        asked.append(wanted)
        raise Overloaded("full", code="memory_budget")

    for dtype in (torch.float32, torch.bfloat16):
        reader = reader_of(engine, tmp_path, dtype=dtype)
        with pytest.raises(Overloaded, match="full"):
            reader.read(str(tmp_path / "policy"), name=None, now=1.0, make_room=full)

    assert asked == [loaded.weight_bytes, loaded.weight_bytes // 2]


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_memory_that_runs_out_while_weights_are_read_is_no_verdict_on_them(
    tmp_path: Path, raised: Exception
) -> None:
    make_tiny_language_model(tmp_path / "policy")

    def runs_out(wanted: int) -> None:
        raise raised

    with pytest.raises(Overloaded) as full:
        reader_of(engine_of(), tmp_path).read(
            str(tmp_path / "policy"), name=None, now=1.0, make_room=runs_out
        )

    assert full.value.code == "out_of_memory"


def test_neither_is_memory_that_runs_out_in_the_warm_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs_out(_: Sampler) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with serving_here(tmp_path) as served:
        make_tiny_language_model(tmp_path / "another")
        monkeypatch.setattr(Sampler, "step", runs_out)

        answer = served.post("/v1/checkpoints/load", {"path": str(tmp_path / "another")})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "out_of_memory")
