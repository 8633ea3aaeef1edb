"""From preference-model scores to per-token rewards, returns and advantages.

It does not know models, prompts or batching.

Legend: B responses, R response tokens of the longest, `is_response` True on real response tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScoreScale:
    """Mean and standard deviation of the scores of the reference policy's own samples."""

    mean: float
    std: float

    def normalise(self, scores: Tensor) -> Tensor:
        """Scores in units of the reference's spread, 0 at its mean: (B,)."""
        return (scores - self.mean) / self.std


def score_scale(scores: Tensor) -> ScoreScale:
    """The scale that gives these scores mean 0 and standard deviation 1 (a constant set keeps std 1)."""
    std = float(scores.std(unbiased=False))
    return ScoreScale(mean=float(scores.mean()), std=std if std > 1e-6 else 1.0)


@dataclass(frozen=True, kw_only=True)
class KLEstimates:
    """Monte-Carlo estimates of KL(policy ‖ reference) per token, both (B, R), 0 outside responses."""

    k1: Tensor  # log π − log π_ref: unbiased, may be negative
    k3: Tensor  # e^(−k1) − 1 + k1: unbiased, never negative, less variance


def kl_estimates(*, logprobs: Tensor, reference: Tensor, is_response: Tensor) -> KLEstimates:
    """k1 and k3 of Schulman's note "Approximating KL divergence" on the policy's own samples."""
    k1 = (logprobs - reference) * is_response
    k3 = torch.expm1(-k1) + k1
    return KLEstimates(k1=k1, k3=k3)


def token_rewards(
    *, scores: Tensor, kl: Tensor, is_response: Tensor, kl_coefficient: float
) -> Tensor:
    """−λ·k1 on every response token, plus the score on the last one (Bai et al. 2022, eq. 4.1): (B, R)."""
    B, _ = kl.shape
    assert scores.shape == (B,), f"scores {tuple(scores.shape)} for {B} responses"
    lengths = is_response.sum(dim=1)
    assert bool((lengths > 0).all()), "every response has at least one token (its end of turn)"
    rewards = -kl_coefficient * kl * is_response
    rewards[torch.arange(B), lengths - 1] += scores
    return rewards


@dataclass(frozen=True, kw_only=True)
class Advantages:
    """GAE's result, both (B, R), 0 outside responses."""

    advantages: Tensor
    returns: Tensor


def generalised_advantages(
    *, rewards: Tensor, values: Tensor, is_response: Tensor, gamma: float, lam: float
) -> Advantages:
    """GAE(γ, λ) (Schulman et al. 2016, eq. 16) over each response; nothing follows its last token."""
    B, R = rewards.shape
    values = values * is_response
    next_value = torch.zeros(B)
    running = torch.zeros(B)
    advantages = torch.zeros(B, R)
    for step in range(R - 1, -1, -1):
        delta = rewards[:, step] + gamma * next_value - values[:, step]  # (B,)
        running = (delta + gamma * lam * running) * is_response[:, step]
        advantages[:, step] = running
        next_value = values[:, step]
    return Advantages(advantages=advantages, returns=(advantages + values) * is_response)


def whiten(values: Tensor, *, is_response: Tensor) -> Tensor:
    """Zero mean and unit variance over the real tokens only; (B, R), 0 outside responses."""
    real = values[is_response]
    scaled = (values - real.mean()) * torch.rsqrt(real.var(unbiased=False) + 1e-8)
    return scaled * is_response


@dataclass(frozen=True, kw_only=True)
class AdaptiveKL:
    """Ziegler et al. 2019's controller of the KL coefficient; `horizon` in samples."""

    coefficient: float
    target: float
    horizon: float

    def updated(self, *, kl: float, samples: int) -> "AdaptiveKL":
        """The controller after a step whose mean KL per response was `kl`."""
        error = min(max(kl / self.target - 1.0, -0.2), 0.2)
        grown = self.coefficient * (1.0 + error * samples / self.horizon)
        return AdaptiveKL(coefficient=grown, target=self.target, horizon=self.horizon)
