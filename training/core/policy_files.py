"""How a trained policy is written: as whole weights, which every engine takes, or as its adapter alone.

It does not know runs or steps: the caller publishes the directory.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from modelserving.lm.saving import write_model_files, write_weights
from training.config import LoraConfig
from training.core.lora import write_adapter
from training.core.ppo_learner import Learner

Write = Callable[[Path], None]


def published_policy(learner: Learner, *, lora: LoraConfig, start: Path, base: str) -> Write:
    """What rank 0 writes a checkpoint with; `base` is the hash of `start`. Every rank takes part in making it."""
    if lora.publish == "merged":
        return whole_policy(learner, tokenizer_directory=start)
    weights, settings = learner.trained_weights(), asdict(lora)
    return lambda directory: write_adapter(
        weights, directory=directory, settings=settings, base=base
    )


def whole_policy(learner: Learner, *, tokenizer_directory: Path) -> Write:
    """The same for whole weights, adapters merged."""
    weights = learner.policy_weights()

    def write(directory: Path) -> None:
        write_weights(weights, directory=directory)
        write_model_files(
            directory=directory,
            config=learner.policy.config,
            tokenizer_directory=tokenizer_directory,
            architecture=type(learner.policy).__name__,
        )

    return write
