"""Configurations of preference models: on comparisons, and pretraining on scored answers.

They do not know the release or the starting weights: inputs.json names those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from training.config.common import (
    LoraConfig,
    RunConfig,
    Schedule,
    require,
    require_below_one,
    require_choice,
    require_not_negative,
    require_positive,
    require_weights,
)

StrengthUse = Literal["ignore", "margin", "soft_label"]


@dataclass(frozen=True, kw_only=True)
class _PreferenceTraining(RunConfig):
    """What both preference kinds share."""

    batch_comparisons: int = 32  # per optimizer step
    micro_tokens: int = 8192  # packed tokens per forward pass; smaller needs less memory
    max_tokens: int = 512  # longer dialogues lose whole exchanges from the left, counted
    epochs: float = 1.0  # the paper reads the data once
    learning_rate: float = 3e-4
    schedule: Schedule = "constant"
    warmup_steps: int = 5
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    max_gradient_norm: float = 1.0
    evaluate_every: int = 0  # steps between evaluations on the test split; 0: at the end only
    activation_checkpointing: bool = False
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            batch_comparisons=self.batch_comparisons,
            micro_tokens=self.micro_tokens,
            max_tokens=self.max_tokens,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            max_gradient_norm=self.max_gradient_norm,
        )
        require(
            self.micro_tokens >= self.max_tokens,
            f"micro_tokens {self.micro_tokens} is below max_tokens {self.max_tokens}: raise it",
        )
        require(
            self.lora.publish == "merged",
            "lora.publish is adapter: preference models are published merged, only policies share a base",
        )
        require_not_negative(
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            evaluate_every=self.evaluate_every,
        )
        require_below_one(beta1=self.beta1, beta2=self.beta2)
        require_choice(
            name="schedule", value=self.schedule, choices=("constant", "linear", "cosine")
        )


@dataclass(frozen=True, kw_only=True)
class PreferenceModelConfig(_PreferenceTraining):
    """A score per dialogue from comparisons: -log sigmoid(chosen - rejected) (Bai et al., §3)."""

    kind: Literal["preference_model"] = "preference_model"
    objective_weights: Mapping[str, float] = field(default_factory=dict)  # {"harmless": 2.0}
    objectives: tuple[str, ...] = ()  # empty: all
    tranches: tuple[str, ...] = ()  # empty: all
    max_comparisons: int = 0  # 0: all; learning curves take fewer
    strength: StrengthUse = "ignore"
    strength_margin: float = 0.0  # margin per step of strength, "margin" only
    disjoint_models: int = 1  # 2: train PM and test PM on disjoint halves
    center_dialogues: int = 256  # held-out responses whose mean score becomes 0
    bootstrap_samples: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(
            name="strength", value=self.strength, choices=("ignore", "margin", "soft_label")
        )
        require(
            (self.strength == "margin") == (self.strength_margin > 0),
            f"strength is {self.strength} and strength_margin {self.strength_margin}: a margin needs both, "
            "strength=margin and strength_margin above 0; anything else neither",
        )
        require(
            self.disjoint_models in (1, 2),
            f"disjoint_models is {self.disjoint_models}: set it to 1 or 2",
        )
        require_positive(
            center_dialogues=self.center_dialogues, bootstrap_samples=self.bootstrap_samples
        )
        require_not_negative(
            max_comparisons=self.max_comparisons, strength_margin=self.strength_margin
        )
        require_weights(name="objective_weights", weights=self.objective_weights)
        unused = sorted(
            set(self.objective_weights) - set(self.objectives or self.objective_weights)
        )
        require(
            not unused,
            f"objective_weights names {', '.join(unused)}, which objectives leaves out: change one of them",
        )


@dataclass(frozen=True, kw_only=True)
class PreferencePretrainingConfig(_PreferenceTraining):
    """Preference pretraining on answers scored by votes (Askell et al. 2021)."""

    kind: Literal["preference_pretraining"] = "preference_pretraining"
    form: Literal["ranked", "binarised"] = "binarised"
    pairs_per_question: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(name="form", value=self.form, choices=("ranked", "binarised"))
        require_positive(pairs_per_question=self.pairs_per_question)
