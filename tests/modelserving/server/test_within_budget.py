"""Replies keep to the memory budget too: what is not in use leaves, others wait, what outgrows it ends."""

import asyncio
from pathlib import Path

from modelserving.lm.sample_requests import SampleRequest
from modelserving.server.checkpoints import ServedCheckpoint
from modelserving.server.engine import Engine
from modelserving.server.errors import Overloaded
from modelserving.server.jobs import SampleJob
from tests.modelserving.adapters import write_adapter
from tests.modelserving.server.in_process import engine_of, policy, reader_of

PROMPT = tuple(range(3, 43))


def _job(name: str, *, tokens: int) -> SampleJob:
    request = SampleRequest(key=name, prompt=PROMPT, seeds=(1,), max_tokens=tokens)
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
