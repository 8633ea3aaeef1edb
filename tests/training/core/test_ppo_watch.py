"""Reasons to end a PPO run: a collapse shows where there is more than one response."""

import pytest
import torch

from training.config import PPOConfig
from training.core.ppo_watch import HeldOut, Watch
from training.core.prompts import Prompt
from training.core.rollout import Rollout

ASKED = Prompt(messages=({"role": "user", "content": "Hi"},), objective="helpful", token_ids=(1,))


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
