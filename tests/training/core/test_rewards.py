"""Rewards, KL estimators and GAE against hand arithmetic, invariants and naive loops."""

import pytest
import torch

from training.core.rewards import (
    AdaptiveKL,
    generalised_advantages,
    kl_estimates,
    score_scale,
    token_rewards,
    whiten,
)

IS_RESPONSE = torch.tensor([[True, True, True], [True, False, False]])


def test_scores_land_on_the_last_real_token_only():
    kl = torch.tensor([[0.1, 0.2, 0.3], [1.0, 0.0, 0.0]])

    rewards = token_rewards(
        scores=torch.tensor([5.0, 7.0]), kl=kl, is_response=IS_RESPONSE, kl_coefficient=0.5
    )

    expected = torch.tensor([[-0.05, -0.10, 4.85], [6.5, 0.0, 0.0]])
    torch.testing.assert_close(rewards, expected)


def test_kl_is_zero_for_identical_policies():
    logprobs = torch.randn(2, 3)

    estimates = kl_estimates(logprobs=logprobs, reference=logprobs, is_response=IS_RESPONSE)

    assert not estimates.k1.any()
    assert not estimates.k3.any()


def test_both_kl_estimators_average_to_the_true_kl():
    torch.manual_seed(0)
    policy, reference = torch.randn(6).log_softmax(0), torch.randn(6).log_softmax(0)
    exact = float((policy.exp() * (policy - reference)).sum())

    draws = torch.multinomial(policy.exp(), 200_000, replacement=True)[None]
    estimates = kl_estimates(
        logprobs=policy[draws],
        reference=reference[draws],
        is_response=torch.ones_like(draws).bool(),
    )

    assert float(estimates.k1.mean()) == pytest.approx(exact, rel=0.02)
    assert float(estimates.k3.mean()) == pytest.approx(exact, rel=0.02)
    assert (estimates.k3 >= 0).all()


def test_advantages_by_hand():
    rewards = torch.tensor([[1.0, 2.0]])
    values = torch.tensor([[0.5, 0.25]])

    result = generalised_advantages(
        rewards=rewards, values=values, is_response=torch.ones(1, 2).bool(), gamma=1.0, lam=0.5
    )

    # δ₁ = 2 − 0.25 = 1.75; δ₀ = 1 + 0.25 − 0.5 = 0.75; A₀ = 0.75 + 0.5·1.75
    torch.testing.assert_close(result.advantages, torch.tensor([[1.625, 1.75]]))
    torch.testing.assert_close(result.returns, torch.tensor([[2.125, 2.0]]))


def test_returns_with_lambda_one_are_the_sums_of_future_rewards():
    torch.manual_seed(0)
    rewards, values = torch.randn(2, 3) * IS_RESPONSE, torch.randn(2, 3)

    result = generalised_advantages(
        rewards=rewards, values=values, is_response=IS_RESPONSE, gamma=1.0, lam=1.0
    )

    to_go = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(result.returns, to_go * IS_RESPONSE)


def test_advantages_equal_a_loop_over_each_response_and_padding_changes_nothing():
    torch.manual_seed(0)
    rewards, values = torch.randn(2, 3), torch.randn(2, 3)

    result = generalised_advantages(
        rewards=rewards * IS_RESPONSE, values=values, is_response=IS_RESPONSE, gamma=0.9, lam=0.8
    )

    for row, length in enumerate([3, 1]):
        for start in range(length):
            expected = 0.0
            for step in range(start, length):
                following = float(values[row, step + 1]) if step + 1 < length else 0.0
                delta = float(rewards[row, step]) + 0.9 * following - float(values[row, step])
                expected += (0.9 * 0.8) ** (step - start) * delta
            assert float(result.advantages[row, start]) == pytest.approx(expected, rel=1e-4)
    assert not result.advantages[1, 1:].any()


def test_whitening_looks_at_real_tokens_only():
    values = torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]])

    whitened = whiten(values, is_response=IS_RESPONSE)

    real = whitened[IS_RESPONSE]
    assert float(real.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(real.var(unbiased=False)) == pytest.approx(1.0, rel=1e-5)
    assert not whitened[~IS_RESPONSE].any()


def test_normalised_reference_scores_have_mean_zero_and_std_one():
    scores = torch.tensor([1.0, 3.0, 8.0])

    normalised = score_scale(scores).normalise(scores)

    assert float(normalised.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(normalised.std(unbiased=False)) == pytest.approx(1.0, rel=1e-6)


def test_adaptive_kl_grows_above_its_target_and_shrinks_below():
    controller = AdaptiveKL(coefficient=0.1, target=6.0, horizon=1000)

    assert controller.updated(kl=12.0, samples=100).coefficient == pytest.approx(0.1 * 1.02)
    assert controller.updated(kl=6.0, samples=100).coefficient == pytest.approx(0.1)
    assert controller.updated(kl=0.0, samples=100).coefficient == pytest.approx(0.1 * 0.98)
