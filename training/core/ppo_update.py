"""PPO's updates: minibatches, inner epochs, one optimizer step each.

It does not know prompts, scores or runs: it gets a rollout with advantages.

Legend: B responses, R tokens of the longest response, N response tokens of a row.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from modelserving.lm.attention import hidden_states
from modelserving.lm.policy import response_logprobs
from training.config import PPOConfig
from training.core.outcome import NonFinite
from training.core.ppo_learner import Learner
from training.core.ppo_loss import policy_loss, value_loss
from training.core.rollout import Rollout, SampleRow, flat_tokens, packed_rows

Minibatch = list[SampleRow]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the updates aim at, all (B, R)."""

    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor


@dataclass(kw_only=True)
class UpdateStatistics:
    """Sums over all updates of one rollout, and the ratio before the first."""

    tokens: int = 0
    policy_loss: float = 0.0
    value_loss: float = 0.0
    clipped: float = 0.0
    value_clipped: float = 0.0
    approx_kl: float = 0.0
    gradient_norm: float = 0.0
    updates: int = 0
    first_ratio_error: float = 0.0  # largest |ratio − 1| before the first update: 0

    def rows(self) -> dict[str, float]:
        """Means for metrics.jsonl."""
        tokens, updates = max(self.tokens, 1), max(self.updates, 1)
        return {
            "ppo/policy/loss": self.policy_loss / tokens,
            "ppo/policy/clipfrac": self.clipped / tokens,
            "ppo/policy/approx_kl": self.approx_kl / tokens,
            "ppo/policy/first_ratio_error": self.first_ratio_error,
            "ppo/value/loss": self.value_loss / tokens,
            "ppo/value/clipfrac": self.value_clipped / tokens,
            "ppo/gradient_norm": self.gradient_norm / updates,
        }


def plan_epoch(rollout: Rollout, *, config: PPOConfig, step: int, epoch: int) -> list[Minibatch]:
    """Shuffled minibatches of one inner epoch; all responses to a prompt stay together."""
    per_prompt = config.samples_per_prompt
    starts = list(range(0, rollout.size, per_prompt))
    random.Random(f"minibatches:{config.seed}:{step}:{epoch}").shuffle(starts)
    count = min(config.minibatches, len(starts))
    minibatches = []
    for index in range(count):
        samples = [start + j for start in starts[index::count] for j in range(per_prompt)]
        minibatches.append(packed_rows(rollout, samples, micro_tokens=config.micro_tokens))
    return minibatches


def update(
    learner: Learner,
    rollout: Rollout,
    *,
    first_epoch: Sequence[Minibatch],
    targets: Targets,
    config: PPOConfig,
    step: int,
) -> UpdateStatistics:
    """`inner_epochs` passes over the rollout; the first goes through the given minibatches."""
    statistics = UpdateStatistics()
    for epoch in range(config.inner_epochs):
        fresh = epoch > 0
        minibatches = (
            plan_epoch(rollout, config=config, step=step, epoch=epoch) if fresh else first_epoch
        )
        for minibatch in minibatches:
            tokens = sum(len(row.tokens.targets) for row in minibatch)
            for row in minibatch:
                _accumulate(
                    learner, row, targets=targets, rollout=rollout, tokens=tokens,
                    statistics=statistics, config=config, step=step,
                )  # fmt: skip
            statistics.gradient_norm += learner.step(at_step=step)
            statistics.updates += 1
    return statistics


def _accumulate(
    learner: Learner,
    row: SampleRow,
    *,
    targets: Targets,
    rollout: Rollout,
    tokens: int,
    statistics: UpdateStatistics,
    config: PPOConfig,
    step: int,
) -> None:
    """Gradients of one row's share of the minibatch's mean token loss."""
    hidden = hidden_states(learner.policy, row.row)  # (T, hidden)
    spoken = response_logprobs(
        learner.policy,
        hidden,
        tokens=row.tokens,
        temperature=config.temperature,
        with_entropy=False,
    )
    values = learner.value.read(row, policy_hidden=hidden)  # (N,)
    device = values.device

    def target(table: Tensor) -> Tensor:
        return flat_tokens(table, row=row, is_response=rollout.is_response).to(device)

    policy = policy_loss(
        logprobs=spoken.logprobs,
        old_logprobs=target(targets.old_logprobs),
        advantages=target(targets.advantages),
        clip=config.clip,
    )
    value = value_loss(
        values=values,
        old_values=target(targets.old_values),
        returns=target(targets.returns),
        clip=config.value_clip,
    )
    loss = (policy.loss_sum + config.value_weight * value.loss_sum) / tokens
    if not math.isfinite(float(loss.detach())):
        raise NonFinite("the PPO loss", step=step)
    loss.backward()
    if statistics.updates == 0:
        worst = float(policy.ratio_max)
        statistics.first_ratio_error = max(statistics.first_ratio_error, worst)
    statistics.tokens += len(row.tokens.targets)
    statistics.policy_loss += float(policy.loss_sum.detach())
    statistics.value_loss += float(value.loss_sum.detach())
    statistics.clipped += float(policy.clipped)
    statistics.value_clipped += float(value.clipped)
    statistics.approx_kl += float(policy.approx_kl)
