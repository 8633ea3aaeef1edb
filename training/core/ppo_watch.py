"""What is watched during PPO: metrics of a rollout, the held-out scores, and reasons to stop.

It does not know how policies are updated.

Legend: B responses, R tokens of the longest response, P held-out prompts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from training.config import PPOConfig
from training.core.evaluation.intervals import mean
from training.core.outcome import NonFinite
from training.core.ppo_loss import explained_variance
from training.core.rewards import kl_estimates
from training.core.rollout import Rollout
from training.core.token_numbers import TokenNumbers

DISTINCT_AT_LEAST = 0.1  # share of distinct responses below which the policy has collapsed
EMPTY_AT_MOST = 0.5  # share of empty responses above which it has


def rollout_metrics(
    rollout: Rollout, *, scores: Tensor, rewards: Tensor, numbers: TokenNumbers, returns: Tensor
) -> dict[str, float]:
    """Numbers of one rollout, before its updates."""
    is_response = rollout.is_response
    kl = kl_estimates(
        logprobs=numbers.logprobs, reference=numbers.reference, is_response=is_response
    )
    k1, k3 = float(kl.k1.sum(1).mean()), float(kl.k3.sum(1).mean())
    tokens = int(is_response.sum())
    return {
        "objective/score": float(scores.mean()),
        "objective/score_std": float(scores.std(unbiased=False)),
        "objective/reward": float(rewards.sum(1).mean()),
        "objective/kl": k1,
        "objective/kl_k3": k3,
        "objective/sqrt_kl": math.sqrt(max(k3, 0.0)),
        "objective/entropy": float(numbers.entropy.sum()) / tokens,
        "ppo/value/mean": float(numbers.values.sum()) / tokens,
        "ppo/value/explained_variance": explained_variance(
            values=numbers.values[is_response], returns=returns[is_response]
        ),
        "response/length": tokens / rollout.size,
        "response/ended": float(rollout.ended.float().mean()),
        "response/distinct": len(set(rollout.texts)) / rollout.size,
        "response/empty": sum(not text.strip() for text in rollout.texts) / rollout.size,
    }


@dataclass(kw_only=True)
class HeldOut:
    """Scores of the held-out prompts at the start and now, prompt by prompt."""

    start: list[float] = field(default_factory=list)  # (P,)
    now: list[float] = field(default_factory=list)
    test_start: list[float] = field(default_factory=list)  # by the test PM, where there is one
    test_now: list[float] = field(default_factory=list)
    newest_step: int = -1

    def add(self, *, step: int, scores: Tensor, test_scores: Tensor | None) -> None:
        """Record a measurement; the first is the start. One that is not finite ends the run instead."""
        if not bool(scores.isfinite().all()):
            raise NonFinite("a held-out score", step=step)
        if test_scores is not None and not bool(test_scores.isfinite().all()):
            raise NonFinite("a held-out score of the test PM", step=step)
        self.newest_step = step
        self.now = scores.tolist()
        self.start = self.start or self.now
        if test_scores is not None:
            self.test_now = test_scores.tolist()
            self.test_start = self.test_start or self.test_now

    @staticmethod
    def _gain(start: list[float], now: list[float]) -> dict[str, float | int]:
        return mean([after - before for before, after in zip(start, now, strict=True)])

    def newest_metrics(self) -> dict[str, float]:
        """The newest measurement for metrics.jsonl."""
        row = {"held_out/score": sum(self.now) / len(self.now)}
        row["held_out/gain"] = float(self._gain(self.start, self.now)["value"])
        if self.test_now:
            row["held_out/test_pm_score"] = sum(self.test_now) / len(self.test_now)
        return row

    def results(self) -> dict[str, Any]:
        """Headline numbers: the gain is paired by prompt, so its interval is that of the differences."""
        if not self.now:
            return {}
        found = {
            "heldout_score_start": mean(self.start),
            "heldout_score_end": mean(self.now),
            "gain": self._gain(self.start, self.now),
        }
        if self.test_now:
            found |= {
                "heldout_test_pm_score_start": mean(self.test_start),
                "heldout_test_pm_score_end": mean(self.test_now),
                "test_pm_gain": self._gain(self.test_start, self.test_now),
            }
        return found

    def diverged(self, *, by: float) -> bool:
        """Whether the train PM's score rose while the test PM's fell by more than `by`."""
        if not self.test_now:
            return False
        gain = float(self._gain(self.start, self.now)["value"])
        return gain > 0 and float(self._gain(self.test_start, self.test_now)["value"]) < -by

    def to_dict(self) -> dict[str, Any]:
        """For a resume state."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "HeldOut":
        """From a resume state."""
        return cls(**stored)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Ends a run that has gone wrong; says what was seen and which number to change."""

    config: PPOConfig

    def reason_to_stop(
        self, metrics: Mapping[str, float], *, rollout: Rollout, held_out: HeldOut
    ) -> str | None:
        """Why the run should end now, or None."""
        config = self.config
        kl = metrics["objective/kl"]
        if kl > config.stop_kl:
            return f"KL {kl:.1f} is beyond stop_kl {config.stop_kl}: lower learning_rate or raise kl_weight"
        if (collapse := _collapse(metrics, responses=rollout.size)) is not None:
            return f"the policy collapsed to {collapse}: lower learning_rate or raise kl_weight"
        limit = config.stop_on_divergence
        if limit > 0 and held_out.diverged(by=limit):
            return f"the test PM fell by more than {limit} while the train PM rose: the train PM is over-optimised"
        return None


def _collapse(metrics: Mapping[str, float], *, responses: int) -> str | None:
    if responses < 2:  # one response is always like all others
        return None
    if metrics["response/empty"] > EMPTY_AT_MOST:
        return "empty responses"
    if metrics["response/distinct"] < max(DISTINCT_AT_LEAST, 1.5 / responses):
        return "constant text"
    return None
