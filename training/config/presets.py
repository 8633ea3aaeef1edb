"""Ready configurations per run kind: a demo on two cores, a small run, the paper's numbers.

They do not know the machine: a preset is a starting point to override.
"""

from training.config.common import RunConfig
from training.config.evaluation import EvaluationConfig
from training.config.language_models import (
    ContextDistillationConfig,
    LanguageModelConfig,
)
from training.config.parsing import config_class
from training.config.ppo import BestOfKConfig, PPOConfig
from training.config.preference import (
    PreferenceModelConfig,
    PreferencePretrainingConfig,
)


def presets(kind: str) -> dict[str, RunConfig]:
    """The presets of a run kind by name."""
    config_class(kind)  # refuses an unknown kind
    return dict(_PRESETS[kind])


_PRESETS: dict[str, dict[str, RunConfig]] = {
    "language_model": {
        "demo": LanguageModelConfig(
            steps=60, block_tokens=256, learning_rate=5e-4, warmup_steps=5
        ),
        "small": LanguageModelConfig(steps=1000),
        "paper": LanguageModelConfig(
            steps=50_000, block_tokens=1024, batch_blocks=32, learning_rate=6e-4, warmup_steps=500
        ),
    },
    "context_distillation": {
        "demo": ContextDistillationConfig(
            sequences=256, sequence_tokens=128, prompt_tokens=384, batch_size=8
        ),
        "small": ContextDistillationConfig(),
        "paper": ContextDistillationConfig(
            sequences=340_000, sequence_tokens=1024, prompt_tokens=6144, held_out_sequences=512
        ),
    },
    "preference_pretraining": {
        "demo": PreferencePretrainingConfig(batch_comparisons=16),
        "small": PreferencePretrainingConfig(batch_comparisons=32),
        "paper": PreferencePretrainingConfig(
            batch_comparisons=128, max_tokens=1024, micro_tokens=32768, learning_rate=6e-5
        ),
    },
    "preference_model": {
        "demo": PreferenceModelConfig(
            precision="fastest", schedule="linear", warmup_steps=10, checkpoint_every=25
        ),
        "small": PreferenceModelConfig(batch_comparisons=64),
        "paper": PreferenceModelConfig(
            batch_comparisons=128, max_tokens=1024, micro_tokens=32768, learning_rate=6e-6
        ),
    },
    "ppo": {
        "demo": PPOConfig(
            precision="fastest", steps=24, batch_prompts=32, samples_per_prompt=4, inner_epochs=2,
            max_prompt_tokens=128, max_response_tokens=48, learning_rate=1e-4,
            value_learning_rate=5e-4, kl_weight=0.02, micro_tokens=4096, normalization_samples=128,
            held_out_prompts=128, evaluate_every=8, checkpoint_every=4,
        ),
        "small": PPOConfig(steps=200, max_response_tokens=128),
        "paper": PPOConfig(
            steps=2000, batch_prompts=256, max_prompt_tokens=1024, max_response_tokens=128,
            learning_rate=6e-7, micro_tokens=32768,
        ),
    },
    "best_of_k": {
        "demo": BestOfKConfig(prompts=32),
        "small": BestOfKConfig(),
        "paper": BestOfKConfig(prompts=5000, max_prompt_tokens=1024),
    },
    "evaluation": {
        "demo": EvaluationConfig(max_examples=200),
        "small": EvaluationConfig(),
        "paper": EvaluationConfig(max_examples=100_000),
    },
}  # fmt: skip
