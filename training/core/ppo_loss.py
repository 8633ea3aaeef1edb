"""PPO's clipped objectives over response tokens, as pure functions.

It does not know models, rollouts or optimizers.

Legend: N response tokens (all responses of a micro-batch, one after another).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PolicyLoss:
    """Sum over N tokens of the clipped surrogate, and detached sums of what happened."""

    loss_sum: Tensor  # () differentiable
    clipped: Tensor  # () tokens whose gradient the clip removed
    approx_kl: Tensor  # () sum of k3 between the sampling and the present policy
    ratio_max: Tensor  # () largest |ratio − 1|


def policy_loss(
    *, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float
) -> PolicyLoss:
    """−min(ρA, clip(ρ, 1±ε)A) summed (Schulman et al. 2017, eq. 7); all (N,)."""
    log_ratio = logprobs - old_logprobs  # (N,)
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1.0 - clip, 1.0 + clip)
    detached = log_ratio.detach()
    return PolicyLoss(
        loss_sum=torch.maximum(unclipped, clipped).sum(),
        clipped=(clipped > unclipped).float().sum().detach(),
        approx_kl=(torch.expm1(detached) - detached).sum(),
        ratio_max=torch.expm1(detached).abs().max(),
    )


@dataclass(frozen=True, kw_only=True)
class ValueLoss:
    """Sum over N tokens of the clipped squared error, and how many the clip decided."""

    loss_sum: Tensor  # () differentiable
    clipped: Tensor  # ()


def value_loss(*, values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> ValueLoss:
    """½·max((V − R)², (clip(V, V_old ± ε) − R)²) summed; all (N,)."""
    inside = torch.clamp(values, old_values - clip, old_values + clip)
    error = (values - returns).square()
    clipped_error = (inside - returns).square()
    return ValueLoss(
        loss_sum=0.5 * torch.maximum(error, clipped_error).sum(),
        clipped=(clipped_error > error).float().sum().detach(),
    )


def explained_variance(*, values: Tensor, returns: Tensor) -> float:
    """1 − Var(R − V) / Var(R); 0 for a value function that explains nothing. Both (N,)."""
    variance = returns.var(unbiased=False)
    if float(variance) == 0.0:
        return 0.0
    return float(1.0 - (returns - values).var(unbiased=False) / variance)
