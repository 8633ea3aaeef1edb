"""Configurations of PPO against a preference model and of best-of-k sampling.

They do not know the weights or prompts: inputs.json names those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from training.config.common import (
    LoraConfig,
    RunConfig,
    require,
    require_choice,
    require_fraction,
    require_not_negative,
    require_positive,
    require_weights,
)


@dataclass(frozen=True, kw_only=True)
class PPOConfig(RunConfig):
    """Reward = PM score at the last token minus kl_weight times KL to the frozen start (§4)."""

    kind: Literal["ppo"] = "ppo"
    # steps are few and long, and what stops by itself falls back on the newest
    checkpoint_every: int = 10
    steps: int = 40
    batch_prompts: int = 64  # prompts per rollout
    samples_per_prompt: int = 1
    minibatches: int = 4  # optimizer steps per inner epoch
    inner_epochs: int = 1
    micro_tokens: int = 8192
    max_prompt_tokens: int = 256
    max_response_tokens: int = 64
    temperature: float = 1.0
    learning_rate: float = 3e-5
    value_learning_rate: float = 1e-4
    warmup_steps: int = 2
    halve_every: int = 0  # optimizer steps after which the learning rate halves; 0: never
    adam_epsilon: float = 1e-5
    max_gradient_norm: float = 1.0
    kl_weight: float = 0.001
    adaptive_kl_target: float = 0.0  # above 0: kl_weight follows this KL
    adaptive_kl_horizon: float = 10_000.0  # samples over which it adapts
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 0.95
    whiten_advantages: bool = True
    value_network: Literal["separate", "shared"] = "separate"
    no_end_penalty: float = 1.0  # subtracted when a response has no end token
    normalize_scores: bool = True  # by mean and spread of the start's own samples
    normalization_samples: int = 64
    # prompt mixture; empty: by their number; else one left out counts 1
    objective_weights: Mapping[str, float] = field(default_factory=dict)
    few_shot_prompts: float = 0.0  # share of prompts written by the model itself
    held_out_prompts: int = 64
    held_out_comparisons: int = 64  # on which the policy's own likelihoods are watched
    evaluate_every: int = 5
    stop_kl: float = 50.0  # stops by itself beyond this KL per response
    stop_on_divergence: float = 0.0  # above 0: train PM rises while the test PM falls by this much
    activation_checkpointing: bool = False
    # a model server (http://…) that samples in the policy's stead and takes its weights each step; empty: this process
    rollout_endpoint: str = ""
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not self.rollout_endpoint or self.rollout_endpoint.startswith(("http://", "https://")),
            f"rollout_endpoint is {self.rollout_endpoint!r}: set it to an http:// address or leave it empty",
        )
        self._require_numbers()
        require(
            self.batch_prompts % self.minibatches == 0,
            f"{self.batch_prompts} prompts a step do not divide into {self.minibatches} minibatches: "
            "change batch_prompts or minibatches",
        )
        self._require_adaptive_kl()
        require_choice(
            name="value_network", value=self.value_network, choices=("separate", "shared")
        )

    def _require_adaptive_kl(self) -> None:
        """A controller that can move the coefficient, and never below zero."""
        if self.adaptive_kl_target == 0:
            return
        require(
            self.kl_weight > 0,
            "kl_weight is 0, and adaptive_kl_target only scales it: set kl_weight above 0",
        )
        rollout = self.batch_prompts * self.samples_per_prompt
        require(
            self.adaptive_kl_horizon >= rollout,
            f"adaptive_kl_horizon is {self.adaptive_kl_horizon:g} samples, less than the {rollout} of one step: raise it",
        )

    def _require_numbers(self) -> None:
        require_positive(
            steps=self.steps,
            batch_prompts=self.batch_prompts,
            samples_per_prompt=self.samples_per_prompt,
            minibatches=self.minibatches,
            inner_epochs=self.inner_epochs,
            micro_tokens=self.micro_tokens,
            max_prompt_tokens=self.max_prompt_tokens,
            max_response_tokens=self.max_response_tokens,
            temperature=self.temperature,
            learning_rate=self.learning_rate,
            value_learning_rate=self.value_learning_rate,
            adam_epsilon=self.adam_epsilon,
            max_gradient_norm=self.max_gradient_norm,
            normalization_samples=self.normalization_samples,
            clip=self.clip,
            value_clip=self.value_clip,
            stop_kl=self.stop_kl,
            adaptive_kl_horizon=self.adaptive_kl_horizon,
            held_out_prompts=self.held_out_prompts,
            held_out_comparisons=self.held_out_comparisons,
            evaluate_every=self.evaluate_every,
        )
        require_not_negative(
            warmup_steps=self.warmup_steps,
            halve_every=self.halve_every,
            kl_weight=self.kl_weight,
            adaptive_kl_target=self.adaptive_kl_target,
            value_weight=self.value_weight,
            no_end_penalty=self.no_end_penalty,
            stop_on_divergence=self.stop_on_divergence,
        )
        require_weights(name="objective_weights", weights=self.objective_weights)
        require_fraction(
            gamma=self.gamma, gae_lambda=self.gae_lambda, few_shot_prompts=self.few_shot_prompts
        )


@dataclass(frozen=True, kw_only=True)
class BestOfKConfig(RunConfig):
    """Sample k responses per prompt, score them with a PM, keep the ranking."""

    kind: Literal["best_of_k"] = "best_of_k"
    k: int = 16
    prompts: int = 256
    batch_prompts: int = 8
    max_prompt_tokens: int = 256
    max_response_tokens: int = 128
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            prompts=self.prompts,
            batch_prompts=self.batch_prompts,
            max_prompt_tokens=self.max_prompt_tokens,
            max_response_tokens=self.max_response_tokens,
            temperature=self.temperature,
        )
        require(self.k >= 2, f"k is {self.k}: set it to 2 or more")
