"""Reasons to end a PPO run: a collapse shows where there is more than one response."""

import math

import pytest
import torch

from training.config import PPOConfig
from training.core.outcome import NonFinite
from training.core.ppo_watch import HeldOut, Watch
from training.core.prompts import Prompt
from training.core.rollout import Rollout

ASKED = Prompt(
    messages=({"role": "user", "content": "Hi"},), objective="helpful", token_ids=(1,), opening="Hi"
)


def reason_to_stop(*texts: str) -> str | None:
    """What is said of a rollout of these responses."""
    count = len(texts)
    rollout = Rollout(
        prompts=(ASKED,) * count,
        responses=((2,),) * count,
        texts=texts,
        ended=torch.ones(count, dtype=torch.bool),
        is_response=torch.ones(count, 1, dtype=torch.bool),
    )
    metrics = {
        "objective/kl": 0.0,
        "response/distinct": len(set(texts)) / count,
        "response/empty": texts.count("") / count,
    }
    watch = Watch(config=PPOConfig())
    return watch.reason_to_stop(metrics, rollout=rollout, held_out=HeldOut())


@pytest.mark.parametrize(
    ("texts", "reason"),
    [(("a", "a"), "constant text"), (("", ""), "empty responses"), (("", "", "a"), "empty")],
)
def test_responses_that_are_all_the_same_or_empty_end_the_run(texts: tuple[str, ...], reason: str):
    said = reason_to_stop(*texts)

    assert said is not None
    assert f"collapsed to {reason}" in said


@pytest.mark.parametrize("texts", [("a",), ("",), ("a", "b"), ("", "a")])
def test_one_response_or_different_ones_show_no_collapse(texts: tuple[str, ...]):
    assert reason_to_stop(*texts) is None


@pytest.mark.parametrize(
    ("scores", "test_scores", "what"),
    [
        ([1.0, math.nan], None, "a held-out score is"),
        ([1.0, 2.0], [0.0, math.inf], "a held-out score of the test PM is"),
    ],
)
def test_held_out_scores_that_are_not_finite_end_the_run(
    scores: list[float], test_scores: list[float] | None, what: str
):
    held_out = HeldOut()

    with pytest.raises(NonFinite, match=f"{what} not finite at step 3") as ended:
        held_out.add(
            step=3,
            scores=torch.tensor(scores),
            test_scores=None if test_scores is None else torch.tensor(test_scores),
        )

    assert ended.value.step == 3
    assert held_out == HeldOut()
