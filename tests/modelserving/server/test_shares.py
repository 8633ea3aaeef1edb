"""One request, however many samples or prompts, leaves room for the others; and its samples stay what they were."""

from pathlib import Path
from typing import Any

import pytest

from modelserving.lm.sample_requests import SampleRequest
from modelserving.server.jobs import SampleJob
from tests.modelserving.server.in_process import Here, engine_of, policy, serving_here

HELLO = [{"role": "user", "content": "Hello there, how are you?"}]


def _asked(**more: Any) -> dict[str, Any]:
    return {"model": "policy", "messages": HELLO, "seed": 5, **more}


def _job(*, samples: int, user: str) -> SampleJob:
    request = SampleRequest(key=user, prompt=(5, 6, 7), seeds=tuple(range(samples)), max_tokens=90)
    return SampleJob(request=request, user=user, call=user, submitted=0.0)


def test_a_request_with_more_samples_than_rows_leaves_room_for_a_newcomer(tmp_path: Path) -> None:
    engine = engine_of(rows=8)
    checkpoint = policy(engine, tmp_path / "policy")
    greedy, newcomer = _job(samples=24, user="greedy"), _job(samples=2, user="newcomer")

    engine._submit([greedy], checkpoint)
    engine._turn(checkpoint)
    engine._submit([newcomer], checkpoint)
    engine._turn(checkpoint)

    assert dict(checkpoint.running_by_user) == {"greedy": 6, "newcomer": 2}
    assert newcomer.saw_token
    engine._turns.cancel(greedy, checkpoint, None)
    engine._turns.cancel(newcomer, checkpoint, None)
    assert not checkpoint.is_busy
    assert not checkpoint.running_by_user


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": True, "top_logprobs": 2},
        {"stop": ["e", "a"]},
        {"best_of": 16, "n": 2, "return_all": True, "ranker": "ranker"},
    ],
    ids=["plain", "stopped", "ranked"],
)
def test_samples_are_the_same_however_many_start_together(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    found = []
    for rows in (3, 64):
        with serving_here(tmp_path / str(rows), rows=rows) as served:
            asked = _asked(n=16, max_tokens=12, return_token_ids=True) | more
            answer = served.post("/v1/chat/completions", asked).json()
            assert not any(each.running or len(each.queue) for each in _checkpoints(served))
            found.append([answer["choices"], answer["usage"], answer.get("best_of")])

    assert found[0] == found[1]


def _checkpoints(served: Here) -> list[Any]:
    served.engine.call(lambda: None).result(timeout=30)  # what was told before is done
    return list(served.engine.checkpoints.values())


def test_the_prompts_of_one_request_wait_as_one(tmp_path: Path) -> None:
    asked = {"model": "policy", "prompt": ["Hello"] * 40, "max_tokens": 1, "user": "u"}
    with serving_here(tmp_path, rows=2, queue=4, queue_per_user=2) as served:
        answer = served.post("/v1/completions", asked)

        assert answer.status_code == 200, answer.text
        assert len(answer.json()["choices"]) == 40
