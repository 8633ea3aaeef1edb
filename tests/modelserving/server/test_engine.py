"""The engine thread: what it survives."""

import asyncio
from collections.abc import Iterator

import pytest

from modelserving.server.engine import Engine
from modelserving.server.jobs import ScoreJob
from tests.modelserving.server.in_process import engine_of, ranker

DIALOGUE = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """With its thread; what it answers by a loop nobody hears."""
    running, loop = engine_of(), asyncio.new_event_loop()
    running.start(loop)
    yield running
    running.stop()
    loop.close()


def test_scores_that_nobody_waits_for_any_more_end_nothing(engine, tmp_path):
    checkpoint = ranker(engine, tmp_path / "ranker")
    engine.call(lambda: engine.unload("ranker")).result(timeout=10)
    job = ScoreJob(dialogues=[DIALOGUE])
    job.answer.cancel()

    engine.score(job, checkpoint=checkpoint)

    assert engine.call(lambda: "here").result(timeout=10) == "here"
