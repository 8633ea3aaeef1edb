"""PPO's losses against hand arithmetic, invariants and a naive loop."""

import math

import pytest
import torch

from training.core.ppo_loss import explained_variance, policy_loss, value_loss


def test_ratio_one_gives_minus_the_mean_advantage_and_the_plain_gradient():
    logprobs = torch.tensor([-1.0, -2.0, -3.0], requires_grad=True)
    advantages = torch.tensor([1.0, -2.0, 4.0])

    result = policy_loss(
        logprobs=logprobs, old_logprobs=logprobs.detach(), advantages=advantages, clip=0.2
    )
    result.loss_sum.backward()

    assert result.loss_sum.item() == pytest.approx(-3.0)
    torch.testing.assert_close(logprobs.grad, -advantages)
    assert float(result.ratio_max) == 0.0
    assert float(result.clipped) == 0.0
    assert float(result.approx_kl) == 0.0


def test_policy_loss_clips_by_hand():
    old = torch.zeros(4)
    logprobs = torch.log(torch.tensor([1.5, 1.5, 0.5, 0.5]))
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])

    result = policy_loss(logprobs=logprobs, old_logprobs=old, advantages=advantages, clip=0.2)

    # −1.2 (clipped), +1.5, −0.5, +0.8 (clipped)
    assert float(result.loss_sum) == pytest.approx(0.6, rel=1e-5)
    assert float(result.clipped) == 2.0


def test_policy_loss_equals_a_loop():
    torch.manual_seed(0)
    logprobs, old, advantages = torch.randn(20), torch.randn(20), torch.randn(20)

    ours = policy_loss(logprobs=logprobs, old_logprobs=old, advantages=advantages, clip=0.2)

    expected = 0.0
    for new, before, advantage in zip(logprobs, old, advantages, strict=True):
        ratio = math.exp(float(new - before))
        bounded = min(max(ratio, 0.8), 1.2)
        expected -= min(ratio * float(advantage), bounded * float(advantage))
    assert float(ours.loss_sum) == pytest.approx(expected, rel=1e-5)


def test_value_loss_by_hand():
    result = value_loss(
        values=torch.tensor([1.0, 0.1]),
        old_values=torch.tensor([0.0, 0.0]),
        returns=torch.tensor([1.0, 1.0]),
        clip=0.2,
    )

    # first: the clip holds it at 0.2, ½·0.64; second: inside the clip, ½·0.81
    assert float(result.loss_sum) == pytest.approx(0.32 + 0.405)
    assert float(result.clipped) == 1.0


def test_explained_variance_is_one_for_a_perfect_and_zero_for_a_constant_value():
    returns = torch.tensor([1.0, 2.0, 4.0])

    assert explained_variance(values=returns, returns=returns) == pytest.approx(1.0)
    assert explained_variance(values=torch.zeros(3), returns=returns) == pytest.approx(0.0)
    assert explained_variance(values=returns, returns=torch.ones(3)) == 0.0
