"""Scoring beside others: how much of it one turn does, when it is given up, and whom one bad dialogue concerns."""

import asyncio
import math
from pathlib import Path

import pytest

from modelserving.client.errors import RequestFailed, stated_error
from modelserving.lm.scoring import ROW_TOKENS
from modelserving.server.errors import BadRequest, GenerationFailed
from modelserving.server.scores import job_of, score
from tests.modelserving.server.in_process import engine_of, ranker, serving_here

HELLO = {"role": "user", "content": "Hello there, how are you?"}
DIALOGUE = [HELLO, {"role": "assistant", "content": "Well, thank you."}]


def _long(number: int) -> list[dict[str, str]]:
    """A dialogue that nearly fills the context, and begins unlike the others."""
    return [{"role": "user", "content": f"{number} 🙂 Köln " * 16}, DIALOGUE[1]]


def test_a_turn_reads_no_more_than_a_row_and_the_next_one_goes_on(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = ranker(engine, tmp_path / "ranker")
    dialogues = [_long(number) for number in range(10, 22)]
    job = job_of(dialogues, checkpoint)
    tokens = [len(sequence) for sequence in job.sequences]
    engine._submit_scores(job, checkpoint)
    read = []

    while checkpoint.score_jobs:
        before = set(job.scores)
        engine._turn(checkpoint)
        read.append(sum(tokens[place] for place in set(job.scores) - before))

    assert sum(read) == sum(tokens) > 2 * ROW_TOKENS["cpu"]
    assert max(read) <= ROW_TOKENS["cpu"]
    assert checkpoint.scorer is not None
    alone = [checkpoint.scorer.score_dialogues([each])[0] for each in dialogues]
    assert job.answer.result(timeout=0) == pytest.approx(alone, abs=1e-5)


def test_scores_that_take_too_long_are_given_up(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = ranker(engine, tmp_path / "ranker")

    with pytest.raises(GenerationFailed) as raised:  # its thread does not run
        asyncio.run(score([DIALOGUE], ranker="ranker", engine=engine, deadline=0.3))

    assert raised.value.code == "deadline"
    assert engine._obey()
    assert [job.answer.cancelled() for job in checkpoint.score_jobs] == [True]


def test_a_dialogue_that_breaks_the_scorer_fails_its_own_call_alone(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = ranker(engine, tmp_path / "ranker")
    jobs = [job_of([DIALOGUE], checkpoint) for _ in range(3)]
    jobs[0].sequences[0][0] = 10**6  # type: ignore[index] -- beyond every vocabulary
    for job in jobs:
        engine._submit_scores(job, checkpoint)

    for _ in jobs:
        engine._turn(checkpoint)

    failed = jobs[0].answer.exception(timeout=0)
    assert isinstance(failed, GenerationFailed)
    assert failed.code == "engine_failed"
    assert jobs[1].answer.result(timeout=0) == jobs[2].answer.result(timeout=0)
    assert engine.last_failure is None


def test_a_lost_device_fails_everything_that_waits(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = ranker(engine, tmp_path / "ranker")
    jobs = [job_of([DIALOGUE], checkpoint) for _ in range(2)]
    for job in jobs:
        engine._submit_scores(job, checkpoint)
    checkpoint.loaded.model.to("meta")  # where every number is refused, as after a CUDA error

    engine._turn(checkpoint)

    assert engine.lost
    assert all(isinstance(job.answer.exception(timeout=0), GenerationFailed) for job in jobs)


def test_a_token_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    engine = engine_of()
    checkpoint = ranker(engine, tmp_path / "ranker")
    checkpoint.loaded.model.config.vocab_size = 200  # of the tokenizer's 320

    with pytest.raises(BadRequest, match="vocabulary of 200"):
        job_of([DIALOGUE], checkpoint)


def test_a_score_that_is_no_number_is_said_to_be_none(tmp_path: Path) -> None:
    with serving_here(tmp_path) as served:
        served.engine.checkpoints["ranker"].loaded.model.score.weight.data.fill_(math.nan)

        scored = served.post("/v1/scores", {"model": "ranker", "dialogues": [DIALOGUE]})
        asked = {"model": "policy", "messages": [HELLO], "max_tokens": 4, "best_of": 2}
        ranked = served.post("/v1/chat/completions", {**asked, "ranker": "ranker"})

    for answer in (scored, ranked):
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "not_finite")
        meant = stated_error(answer.json()["error"], status=answer.status_code)
        assert isinstance(meant, RequestFailed)  # which no breaker counts
