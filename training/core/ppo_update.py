"""PPO's updates: minibatches, inner epochs, one optimizer step each.

It does not know prompts, scores or runs: it gets a rollout with advantages.

Legend: B responses, R tokens of the longest response, N response tokens of a row.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.config import PPOConfig
from training.core.distributed import Ranks
from training.core.outcome import NonFinite
from training.core.ppo_learner import Learner
from training.core.ppo_loss import PolicyLoss, ValueLoss, policy_loss, value_loss
from training.core.ppo_targets import Targets
from training.core.rollout import Rollout, SampleRow, packed_rows
from training.core.sharding import idle_passes
from training.core.side_by_side import add_gradients
from training.core.token_numbers import Reading, flat_tokens, read_row

ALONE = Ranks()


@dataclass(frozen=True, kw_only=True)
class Minibatch:
    """The responses of one optimizer step, and this rank's share of them in rows."""

    samples: list[int]
    rows: list[SampleRow]


SUMS = ("tokens", "policy_loss", "value_loss", "clipped", "value_clipped", "approx_kl")


@dataclass(kw_only=True)
class UpdateStatistics:
    """Sums over all updates of one rollout, and the ratio before the first."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(len(SUMS), dtype=torch.float64))
    gradient_norm: float = 0.0
    updates: int = 0
    # largest |ratio − 1| before the first update: 0, of itself where that update goes on from kept readings
    first_ratio_error: float = 0.0

    def add(self, *, tokens: int, policy: PolicyLoss, value: ValueLoss) -> None:
        """Count one row."""
        values = (policy.loss_sum, value.loss_sum, policy.clipped, value.clipped, policy.approx_kl)
        self.sums += torch.tensor([tokens, *(float(each.detach()) for each in values)])
        if self.updates == 0:
            self.first_ratio_error = max(self.first_ratio_error, float(policy.ratio_max))

    def rows(self, ranks: Ranks) -> dict[str, float]:
        """Means over the tokens of all ranks for metrics.jsonl."""
        found = dict(zip(SUMS, ranks.sum_tensor(self.sums).tolist(), strict=True))
        tokens, updates = max(found["tokens"], 1.0), max(self.updates, 1)
        return {
            "ppo/policy/loss": found["policy_loss"] / tokens,
            "ppo/policy/clipfrac": found["clipped"] / tokens,
            "ppo/policy/approx_kl": found["approx_kl"] / tokens,
            "ppo/policy/first_ratio_error": ranks.largest(self.first_ratio_error),
            "ppo/value/loss": found["value_loss"] / tokens,
            "ppo/value/clipfrac": found["value_clipped"] / tokens,
            "ppo/gradient_norm": self.gradient_norm / updates,
        }


def plan_epoch(
    rollout: Rollout,
    *,
    config: PPOConfig,
    step: int,
    epoch: int,
    ranks: Ranks = ALONE,
    threads: int = 1,
) -> list[Minibatch]:
    """Shuffled minibatches of one inner epoch; all responses to a prompt stay together.

    `threads` rows, or a multiple of it, are read side by side.
    """
    per_prompt = config.samples_per_prompt
    starts = list(range(0, rollout.size, per_prompt))
    random.Random(f"minibatches:{config.seed}:{step}:{epoch}").shuffle(starts)
    count = min(config.minibatches, len(starts))
    minibatches = []
    for index in range(count):
        samples = [start + j for start in starts[index::count] for j in range(per_prompt)]
        rows = packed_rows(
            rollout, samples, micro_tokens=config.micro_tokens, ranks=ranks, multiple=threads
        )
        minibatches.append(Minibatch(samples=samples, rows=rows))
    return minibatches


def rows_to_keep(first: Minibatch, *, threads: int, ranks: Ranks = ALONE) -> int:
    """How many readings of the first minibatch's rows can serve its update: all, where it has all in memory anyway."""
    return len(first.rows) if ranks.world == 1 and len(first.rows) <= threads else 0


@dataclass(frozen=True, kw_only=True)
class Updates:
    """All optimizer steps on one rollout."""

    learner: Learner
    rollout: Rollout
    targets: Targets
    config: PPOConfig
    step: int
    ranks: Ranks = ALONE

    def run(
        self, first_epoch: Sequence[Minibatch], *, kept: list[Reading] | None = None
    ) -> UpdateStatistics:
        """`inner_epochs` passes over the rollout; the first goes through the given minibatches.

        `kept` are readings of the first minibatch's rows; the list is emptied, as what they hold is large.
        """
        statistics = UpdateStatistics()
        readings = kept if kept is not None else []
        for epoch in range(self.config.inner_epochs):
            minibatches = first_epoch if epoch == 0 else self._plan(epoch)
            for minibatch in minibatches:
                self._update(minibatch, readings=readings, statistics=statistics)
                readings.clear()  # the weights have changed
        return statistics

    def _update(
        self, minibatch: Minibatch, *, readings: Sequence[Reading], statistics: UpdateStatistics
    ) -> None:
        tokens = int(self.rollout.lengths[minibatch.samples].sum())
        rows = minibatch.rows
        idle = idle_passes(self.learner.policy, rows=len(rows), ranks=self.ranks)
        loss = self._accumulate(rows, tokens=tokens, readings=readings, statistics=statistics)
        self._take_part(minibatch, passes=idle)
        if not math.isfinite(self.ranks.sum(loss)):
            raise NonFinite("the PPO loss", step=self.step)
        statistics.gradient_norm += self.learner.step(at_step=self.step)
        statistics.updates += 1

    def _plan(self, epoch: int) -> list[Minibatch]:
        return plan_epoch(
            self.rollout, config=self.config, step=self.step, epoch=epoch, ranks=self.ranks,
            threads=self.learner.threads,
        )  # fmt: skip

    def _take_part(self, minibatch: Minibatch, *, passes: int) -> None:
        """Extra passes of zero gradient: where networks lie in pieces, every rank must gather them equally often."""
        for _ in range(passes):
            first = minibatch.samples[:1]
            (row,) = packed_rows(self.rollout, first, micro_tokens=self.config.micro_tokens)
            loss, _, _ = self._losses(row, self._read(row), tokens=math.inf)
            loss.backward()  # divided by infinity: zero

    def _accumulate(
        self,
        rows: Sequence[SampleRow],
        *,
        tokens: int,
        readings: Sequence[Reading],
        statistics: UpdateStatistics,
    ) -> float:
        """Gradients of the rows' shares of the minibatch's mean token loss; returns their sum."""

        def share(index: int) -> tuple[Tensor, tuple[float, PolicyLoss, ValueLoss]]:
            reading = readings[index] if readings else self._read(rows[index])
            loss, policy, value = self._losses(rows[index], reading, tokens=tokens)
            return loss, (float(loss.detach()), policy, value)

        learner = self.learner
        threads, parameters = learner.threads, learner.parameters()
        found = add_gradients(share, range(len(rows)), parameters=parameters, threads=threads)
        for row, (_, policy, value) in zip(rows, found, strict=True):
            statistics.add(tokens=len(row.tokens.targets), policy=policy, value=value)
        return sum(loss for loss, _, _ in found)

    def _read(self, row: SampleRow) -> Reading:
        learner = self.learner
        return read_row(
            row, policy=learner.policy, value=learner.value, temperature=self.config.temperature
        )

    def _losses(
        self, row: SampleRow, reading: Reading, *, tokens: float
    ) -> tuple[Tensor, PolicyLoss, ValueLoss]:
        """One row's share of the minibatch's mean token loss, and its two parts."""
        config, values = self.config, reading.values  # (N,)

        def target(table: Tensor) -> Tensor:
            flat = flat_tokens(table, row=row, is_response=self.rollout.is_response)
            return flat.to(values.device)

        policy = policy_loss(
            logprobs=reading.logprobs,
            old_logprobs=target(self.targets.old_logprobs),
            advantages=target(self.targets.advantages),
            clip=config.clip,
        )
        value = value_loss(
            values=values,
            old_values=target(self.targets.old_values),
            returns=target(self.targets.returns),
            clip=config.value_clip,
        )
        loss = (policy.loss_sum + config.value_weight * value.loss_sum) / tokens
        return loss, policy, value
