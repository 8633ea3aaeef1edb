"""Configurations of next-token training and of context distillation.

They do not know where the corpus or the starting weights lie: inputs.json names those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from training.config.common import (
    RunConfig,
    Schedule,
    require,
    require_below_one,
    require_choice,
    require_fraction,
    require_not_negative,
    require_positive,
    require_weights,
)

Optimizer = Literal["adamw", "muon"]
LossOn = Literal["all", "responses"]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A Llama made from nothing; ignored when the run has an initial checkpoint."""

    layers: int = 6
    hidden_size: int = 256
    intermediate_size: int = 688
    attention_heads: int = 4
    key_value_heads: int = 4
    context_tokens: int = 1024

    def __post_init__(self) -> None:
        require_positive(
            layers=self.layers,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            attention_heads=self.attention_heads,
            key_value_heads=self.key_value_heads,
            context_tokens=self.context_tokens,
        )
        require(
            self.hidden_size % (2 * self.attention_heads) == 0,
            f"hidden_size {self.hidden_size} is not an even multiple of attention_heads "
            f"{self.attention_heads}: change one of them",
        )
        require(
            self.attention_heads % self.key_value_heads == 0,
            f"attention_heads {self.attention_heads} is not a multiple of key_value_heads "
            f"{self.key_value_heads}: change one of them",
        )


@dataclass(frozen=True, kw_only=True)
class MixturePhase:
    """Which sources are read, in what proportion of tokens, up to a point of the run."""

    until: float  # fraction of the run at which the phase ends
    weights: Mapping[str, float] = field(default_factory=dict)  # empty: by size
    loss_on: LossOn = "all"

    def __post_init__(self) -> None:
        require_fraction(until=self.until)
        require_choice(name="loss_on", value=self.loss_on, choices=("all", "responses"))
        require_weights(name="weights", weights=self.weights)
        require(
            not self.weights or sum(self.weights.values()) > 0,
            "weights gives every source 0: set one above 0, or leave weights empty",
        )


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig(RunConfig):
    """Next-token training on a corpus directory (role `corpus`) or a release's chosen responses."""

    kind: Literal["language_model"] = "language_model"
    shape: ModelShape = field(default_factory=ModelShape)
    phases: tuple[MixturePhase, ...] = (MixturePhase(until=1.0),)
    block_tokens: int = 512
    batch_blocks: int = 16
    accumulation: int = 1  # batches per optimizer step
    steps: int = 1000
    max_minutes: float = 0.0  # above 0: the run, and its schedule, end by time instead of steps
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-3  # AdamW, and Muon's embeddings and norms
    muon_learning_rate: float = 0.02  # matrices of the layers, optimizer "muon" only
    schedule: Schedule = "linear"
    decay_from: float = 0.0  # fraction of the run at which the decay begins (warm-up–stable–decay)
    final_learning_rate: float = 0.0  # fraction of the learning rate that is left at the end
    warmup_steps: int = 50
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    max_gradient_norm: float = 1.0
    evaluate_every: int = 200
    evaluation_blocks: int = 64  # held-out blocks per source
    activation_checkpointing: bool = False
    compile: bool = False  # torch.compile: faster on long runs, needs a C++ compiler
    publish_every: int = 0  # steps between published checkpoints; 0: only the last

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            block_tokens=self.block_tokens,
            batch_blocks=self.batch_blocks,
            accumulation=self.accumulation,
            steps=self.steps,
            learning_rate=self.learning_rate,
            muon_learning_rate=self.muon_learning_rate,
            max_gradient_norm=self.max_gradient_norm,
            evaluate_every=self.evaluate_every,
            evaluation_blocks=self.evaluation_blocks,
        )
        require_not_negative(
            max_minutes=self.max_minutes,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            publish_every=self.publish_every,
        )
        require_choice(name="optimizer", value=self.optimizer, choices=("adamw", "muon"))
        require_choice(
            name="schedule", value=self.schedule, choices=("constant", "linear", "cosine")
        )
        require_fraction(decay_from=self.decay_from, final_learning_rate=self.final_learning_rate)
        require(
            self.schedule != "constant" or self.decay_from == self.final_learning_rate == 0,
            "schedule is constant, which never decays: leave decay_from and final_learning_rate 0, "
            "or set schedule to linear or cosine",
        )
        require_below_one(beta1=self.beta1, beta2=self.beta2)
        require(
            not (self.compile and self.sharding == "full"),
            "compile and sharding do not go together yet: set compile to false or sharding to none",
        )
        _require_two_tokens(block_tokens=self.block_tokens)
        _require_whole(self.phases)


def _require_two_tokens(**values: int) -> None:
    for name, value in values.items():
        require(value >= 2, f"{name} is {value}: set it to 2 or more, the first is only read")


def _require_whole(phases: tuple[MixturePhase, ...]) -> None:
    require(len(phases) > 0, "phases is empty: give at least one, ending at 1.0")
    ends = [phase.until for phase in phases]
    require(
        ends == sorted(ends) and ends[-1] == 1.0,
        f"phases end at {ends}: order them and let the last end at 1.0",
    )


@dataclass(frozen=True, kw_only=True)
class ContextDistillationConfig(RunConfig):
    """Teach a model to behave without the HHH prompt as it does with it (Askell et al. 2021)."""

    kind: Literal["context_distillation"] = "context_distillation"
    top_tokens: int = 50  # stored log-probabilities per token; the rest is one more class
    sequences: int = 512  # training sequences
    held_out_sequences: int = 32
    sequence_tokens: int = 256  # without the prompt
    prompt_tokens: int = 512  # room for the HHH prompt; examples that do not fit are left out
    batch_size: int = 32  # as in the paper
    epochs: int = 1
    learning_rate: float = 5e-5  # 0.05 of the pretraining rate, decayed linearly to 0
    warmup_steps: int = 5
    max_gradient_norm: float = 1.0
    evaluate_every: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            top_tokens=self.top_tokens,
            sequences=self.sequences,
            held_out_sequences=self.held_out_sequences,
            sequence_tokens=self.sequence_tokens,
            prompt_tokens=self.prompt_tokens,
            batch_size=self.batch_size,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            max_gradient_norm=self.max_gradient_norm,
            evaluate_every=self.evaluate_every,
        )
        require_not_negative(warmup_steps=self.warmup_steps)
        _require_two_tokens(sequence_tokens=self.sequence_tokens)
