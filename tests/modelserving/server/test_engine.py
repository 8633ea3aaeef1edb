"""The engine thread: what it survives, and what it knows that it cannot."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator

import pytest
import torch

from modelserving.server.device import still_computes
from modelserving.server.engine import Engine
from modelserving.server.errors import GenerationFailed, Overloaded
from modelserving.server.jobs import ScoreJob
from modelserving.server.scores import job_of
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


def lost_within(engine: Engine, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not engine.lost and time.monotonic() < ends:
        time.sleep(0.01)
    return engine.lost


def test_scores_that_nobody_waits_for_any_more_end_nothing(engine, tmp_path):
    checkpoint = ranker(engine, tmp_path / "ranker")
    engine.call(lambda: engine.unload("ranker")).result(timeout=10)
    job = job_of([DIALOGUE], checkpoint)
    job.answer.cancel()

    engine.score(job, checkpoint=checkpoint)

    assert engine.call(lambda: "here").result(timeout=10) == "here"


def test_a_thread_that_ended_is_known(engine):
    def fail() -> None:
        raise ZeroDivisionError

    engine._commands.put(fail)

    assert lost_within(engine, 10)


def test_a_device_that_computes_nothing_any_more_is_known(engine, tmp_path):
    checkpoint = ranker(engine, tmp_path / "ranker")
    checkpoint.loaded.model.to("meta")  # where every number is refused, as after a CUDA error
    job = job_of([DIALOGUE], checkpoint)

    engine.score(job, checkpoint=checkpoint)

    with pytest.raises(GenerationFailed):
        job.answer.result(timeout=10)
    assert lost_within(engine, 10)


def test_a_device_that_a_warm_up_broke_is_known(tmp_path):
    engine = engine_of()
    checkpoint = ranker(engine, tmp_path / "ranker")
    checkpoint.loaded.model.to("meta")

    with pytest.raises(NotImplementedError):
        engine.adopt(checkpoint)

    assert engine.lost


def test_a_step_that_failed_on_a_sound_device_is_not_the_end(engine, tmp_path):
    checkpoint = ranker(engine, tmp_path / "ranker")
    job = job_of([DIALOGUE], checkpoint)
    checkpoint.scorer = None

    engine.score(job, checkpoint=checkpoint)

    with pytest.raises(GenerationFailed):
        job.answer.result(timeout=10)
    assert engine.call(lambda: engine.lost).result(timeout=10) is False
    assert still_computes(torch.device("cpu"))


def test_scores_that_wait_are_bounded_too(tmp_path):
    engine = engine_of(queue=2)
    checkpoint = ranker(engine, tmp_path / "ranker")
    jobs = [ScoreJob(sequences=[], rows=deque()) for _ in range(3)]

    for job in jobs:
        engine._submit_scores(job, checkpoint)

    assert list(checkpoint.score_jobs) == jobs[:2]
    refused = jobs[2].answer.exception(timeout=0)
    assert isinstance(refused, Overloaded)
    assert refused.code == "queue_full"
