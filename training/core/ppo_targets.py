"""From scores and log-probabilities to what PPO's updates aim at.

It does not know models or optimizers.

Legend: B responses, R tokens of the longest response.
"""

from dataclasses import dataclass

from torch import Tensor

from training.config import PPOConfig
from training.core.rewards import generalised_advantages, kl_estimates, token_rewards, whiten
from training.core.rollout import Rollout
from training.core.token_numbers import TokenNumbers


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the updates aim at, all (B, R)."""

    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


def targets_of(
    rollout: Rollout,
    *,
    scores: Tensor,
    numbers: TokenNumbers,
    config: PPOConfig,
    kl_coefficient: float,
) -> tuple[Targets, Tensor]:
    """Normalised scores (B,) to rewards to advantages and returns; also the rewards (B, R)."""
    is_response = rollout.is_response
    shaped = scores - config.no_end_penalty * ~rollout.ended  # (B,)
    kl = kl_estimates(
        logprobs=numbers.logprobs, reference=numbers.reference, is_response=is_response
    )
    rewards = token_rewards(
        scores=shaped, kl=kl.k1, is_response=is_response, kl_coefficient=kl_coefficient
    )
    estimated = generalised_advantages(
        rewards=rewards,
        values=numbers.values,
        is_response=is_response,
        gamma=config.gamma,
        lam=config.gae_lambda,
    )
    advantages = estimated.advantages
    if config.whiten_advantages:
        advantages = whiten(advantages, is_response=is_response)
    targets = Targets(
        old_logprobs=numbers.logprobs,
        old_values=numbers.values,
        advantages=advantages,
        returns=estimated.returns,
    )
    return targets, rewards
