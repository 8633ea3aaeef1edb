"""What leaves to make room for a checkpoint, and that nothing leaves in vain."""

from collections import deque
from pathlib import Path

import pytest
import torch

from modelserving.lm import llama_reading
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


@pytest.mark.parametrize("largest_native", [0, llama_reading.LARGEST_NATIVE])
@pytest.mark.parametrize("is_tied", [False, True], ids=["own head", "tied head"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_room_is_made_for_weights_and_their_copies_before_they_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    is_tied: bool,
    largest_native: int,
) -> None:
    monkeypatch.setattr(llama_reading, "LARGEST_NATIVE", largest_native)
    make_tiny_language_model(tmp_path / "policy", tie_word_embeddings=is_tied)
    reader = reader_of(engine_of(), tmp_path, dtype=dtype)
    asked: list[int] = []

    def full(wanted: int) -> None:
        asked.append(wanted)
        raise Overloaded("full", code="memory_budget")

    with pytest.raises(Overloaded, match="full"):
        reader.read(str(tmp_path / "policy"), name=None, now=1.0, make_room=full)
    loaded = reader.read(str(tmp_path / "policy"), name=None, now=1.0, make_room=asked.append)

    assert asked[0] == asked[1] == pytest.approx(loaded.bytes_used, rel=0.01)
    assert asked[0] >= loaded.bytes_used


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_copy_of_a_head_tied_to_the_embeddings_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(llama_reading, "LARGEST_NATIVE", 0)  # no other copy
    engine = engine_of()
    reader = reader_of(engine, tmp_path, dtype=dtype)
    found = {}
    for is_tied in (False, True):
        make_tiny_language_model(tmp_path / str(is_tied), tie_word_embeddings=is_tied)
        found[is_tied] = reader.read(
            str(tmp_path / str(is_tied)), name=None, now=1.0, make_room=engine.memory.make_room
        )

    own, tied = found[False], found[True]
    head = own.weight_bytes - tied.weight_bytes
    assert head == 320 * 32 * dtype.itemsize
    assert (own.bytes_used, tied.bytes_used) == (own.weight_bytes, tied.weight_bytes + head)
    assert engine.memory.room_of(tied) == engine.memory.limit - tied.weight_bytes - head


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
