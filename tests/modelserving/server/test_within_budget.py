"""Replies keep to the memory budget too: what is not in use leaves, others wait, what outgrows it ends."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from modelserving.lm.sample_requests import SampleRequest
from modelserving.server.checkpoints import ServedCheckpoint
from modelserving.server.engine import Engine
from modelserving.server.errors import Overloaded
from modelserving.server.jobs import SampleJob
from tests.modelserving.adapters import write_adapter
from tests.modelserving.server.in_process import engine_of, policy, reader_of

PROMPT = tuple(range(3, 43))
Made = Callable[[Engine, Path], ServedCheckpoint]


def _job(name: str, *, tokens: int, samples: int = 1, first: int = 3) -> SampleJob:
    prompt = (first, *PROMPT[1:])
    request = SampleRequest(key=name, prompt=prompt, seeds=tuple(range(samples)), max_tokens=tokens)
    return SampleJob(request=request, user="", call=name, submitted=0.0)


def _running(checkpoint: ServedCheckpoint) -> list[str]:
    return [part.key for part in checkpoint.running.values()]


def _allow(engine: Engine, more_bytes: int) -> None:
    """Let the budget be what is used now and a little."""
    engine.memory.limit = engine.bytes_used + more_bytes


def test_what_runs_drives_out_what_is_idle_and_new_requests_wait(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = policy(engine, tmp_path / "policy")
    policy(engine, tmp_path / "idle", seed=2)
    engine._submit([_job("first", tokens=20)], checkpoint)
    engine._turn(checkpoint)
    idle = engine.checkpoints["idle"].bytes_used
    _allow(engine, -idle - 1)

    engine._submit([_job("second", tokens=20)], checkpoint)
    engine._turn(checkpoint)
    assert list(engine.checkpoints) == ["policy"]
    assert _running(checkpoint) == ["first"]

    for _ in range(40):
        engine._turn(checkpoint)
    assert not checkpoint.is_busy  # one after the other they were served


def _adapter(engine: Engine, root: Path) -> ServedCheckpoint:
    """Over a tiny base: an adapter's samples run in lines that grow."""
    base = policy(engine, root / "base")
    write_adapter(root / "adapter", base=root / "base", parent=base.hash, seed=1, rank=2)
    checkpoint = reader_of(engine, root).read(
        str(root / "adapter"), name="adapter", now=1.0, make_room=engine.memory.make_room, base=base
    )
    engine.adopt(checkpoint)
    return checkpoint


def _policy(engine: Engine, root: Path) -> ServedCheckpoint:
    """Its samples run in the compiled step, with all the room that they may need."""
    return policy(engine, root / "policy")


def _bytes_of_one(checkpoint: ServedCheckpoint, *, tokens: int) -> int:
    """Keys and values of a prompt and one whole reply."""
    assert checkpoint.sampler is not None
    return (len(PROMPT) + tokens) * checkpoint.sampler.reader.shape.bytes_per_token


def test_a_reply_that_outgrows_the_budget_ends_and_shorter_ones_go_on(tmp_path: Path) -> None:
    engine, loop = engine_of(), asyncio.new_event_loop()
    engine._loop = loop
    checkpoint = _adapter(engine, tmp_path)
    long, short = _job("long", tokens=200), _job("short", tokens=90)
    engine._submit([long], checkpoint)
    for _ in range(20):
        engine._turn(checkpoint)
    engine._submit([short], checkpoint)
    engine._turn(checkpoint)
    assert sorted(_running(checkpoint)) == ["long", "short"]
    _allow(engine, 100)

    turns = 0
    while "long" in _running(checkpoint):
        engine._turn(checkpoint)
        turns += 1
    running = _running(checkpoint)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    last = [long.outlet.get_nowait() for _ in range(long.outlet.qsize())][-1]
    assert isinstance(last, Overloaded)
    assert last.code == "memory_budget"
    assert turns < 150
    assert running == ["short"]


def _most_used(engine: Engine, *checkpoints: ServedCheckpoint) -> tuple[int, int]:
    """Turn until nobody waits: the most bytes beyond the budget, and the most samples at once."""
    beyond, together = 0, 0
    for _ in range(4000):
        for checkpoint in checkpoints:
            engine._turn(checkpoint)
        beyond = max(beyond, engine.bytes_used - engine.memory.limit)
        running = [each.sampler.running for each in checkpoints if each.sampler]
        together = max(together, sum(running))
        if not any(each.is_busy for each in checkpoints):
            return beyond, together
    raise AssertionError("some wait for ever")


@pytest.mark.parametrize("made", [_policy, _adapter], ids=["compiled", "in lines"])
def test_a_burst_is_let_in_as_far_as_the_budget_goes(tmp_path: Path, made: Made) -> None:
    engine = engine_of()
    checkpoint = made(engine, tmp_path)
    _allow(engine, 12 * _bytes_of_one(checkpoint, tokens=60))

    engine._submit([_job(f"{n}", tokens=60, first=3 + n) for n in range(24)], checkpoint)

    beyond, together = _most_used(engine, checkpoint)
    assert beyond == 0
    assert 2 <= together < 24


def test_samples_of_one_request_start_as_far_as_the_budget_goes(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = _policy(engine, tmp_path)
    _allow(engine, 5 * _bytes_of_one(checkpoint, tokens=60))

    engine._submit([_job("many", tokens=60, samples=8)], checkpoint)

    beyond, together = _most_used(engine, checkpoint)
    assert beyond == 0
    assert together >= 2


def test_two_checkpoints_in_a_full_budget_take_turns(tmp_path: Path) -> None:
    engine = engine_of()
    both = [policy(engine, tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two"))]
    _allow(engine, 3 * _bytes_of_one(both[0], tokens=60))

    for checkpoint in both:
        jobs = [_job(f"{checkpoint.name} {n}", tokens=60, first=3 + n) for n in range(9)]
        engine._submit(jobs, checkpoint)
    for _ in range(3 * 70):
        for checkpoint in both:
            engine._turn(checkpoint)
    waiting = [len(each.queue) for each in both]

    assert max(waiting) < 9
    assert _most_used(engine, *both)[0] == 0


def test_one_sample_runs_however_small_the_budget(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = _policy(engine, tmp_path)
    _allow(engine, -1)

    engine._submit([_job("many", tokens=20, samples=3)], checkpoint)

    assert _most_used(engine, checkpoint)[1] == 1


def test_what_could_not_fit_in_the_end_drives_nothing_out(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = _policy(engine, tmp_path)
    policy(engine, tmp_path / "idle", seed=2)
    engine._submit([_job("first", tokens=60)], checkpoint)
    engine._turn(checkpoint)
    idle = engine.checkpoints["idle"].bytes_used
    _allow(engine, 0)

    assert not engine.memory.has_room(idle + 1)
    assert list(engine.checkpoints) == ["policy", "idle"]
    assert engine.memory.has_room(idle)
    assert list(engine.checkpoints) == ["policy"]
