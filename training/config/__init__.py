"""Typed configurations of every run kind: `from_dict`, `to_dict`, `presets`, `with_overrides`.

They do not know torch, Django or any file: plain values in, checked dataclasses out.
"""

from training.config.common import ConfigError, LoraConfig, RunConfig
from training.config.evaluation import EvaluationConfig
from training.config.language_models import (
    ContextDistillationConfig,
    LanguageModelConfig,
    MixturePhase,
    ModelShape,
)
from training.config.parsing import (
    KINDS,
    choices_of,
    from_dict,
    kind_of,
    to_dict,
    with_overrides,
)
from training.config.ppo import BestOfKConfig, PPOConfig
from training.config.preference import (
    PreferenceModelConfig,
    PreferencePretrainingConfig,
)
from training.config.presets import presets

__all__ = [
    "KINDS",
    "BestOfKConfig",
    "ConfigError",
    "ContextDistillationConfig",
    "EvaluationConfig",
    "LanguageModelConfig",
    "LoraConfig",
    "MixturePhase",
    "ModelShape",
    "PPOConfig",
    "PreferenceModelConfig",
    "PreferencePretrainingConfig",
    "RunConfig",
    "choices_of",
    "from_dict",
    "kind_of",
    "presets",
    "to_dict",
    "with_overrides",
]
