"""How a trained policy is written: as whole weights, which every engine takes, or as its adapter alone.

It does not know runs or steps: the caller publishes the directory.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from modelserving.lm.saving import write_model_files, write_weights
from training.config import LoraConfig
from training.core.lora import write_adapter
from training.core.ppo_learner import Learner

Write = Callable[[Path], None]
PUBLISHED = torch.bfloat16


def published_policy(
    learner: Learner,
    *,
    lora: LoraConfig,
    start: Path,
    base: str,
    tell_kept: Callable[[float], None] | None = None,
) -> Write:
    """What rank 0 writes a checkpoint with; `base` is the hash of `start`. Every rank takes part in making it.

    `tell_kept` hears what `change_kept` says of whole weights.
    """
    if lora.publish == "merged":
        return whole_policy(learner, tokenizer_directory=start, tell_kept=tell_kept)
    weights, settings = learner.trained_weights(), asdict(lora)
    return lambda directory: write_adapter(
        weights, directory=directory, settings=settings, base=base
    )


def whole_policy(
    learner: Learner, *, tokenizer_directory: Path, tell_kept: Callable[[float], None] | None = None
) -> Write:
    """The same for whole weights, adapters merged; the tokenizer's directory is that of the start's weights."""
    weights = learner.policy_weights()

    def write(directory: Path) -> None:
        write_weights(weights, directory=directory)
        write_model_files(
            directory=directory,
            config=learner.policy.config,
            tokenizer_directory=tokenizer_directory,
            architecture=type(learner.policy).__name__,
        )
        if tell_kept is not None:
            tell_kept(change_kept(weights, start=tokenizer_directory))

    return write


def change_kept(weights: Mapping[str, Tensor], *, start: Path) -> float:
    """Share of what training changed that is left in the published precision, along the change; 1 where nothing changed.

    The start lies on the grid of bfloat16, so a change of less than half a step of it rounds back to the start.
    """
    along = changed = 0.0
    for path in sorted(start.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stored:
            for name in set(stored.keys()) & set(weights):
                trained, before = (
                    weights[name].detach().float().cpu(),
                    stored.get_tensor(name).float(),
                )
                if trained.shape != before.shape:
                    continue
                change = trained - before
                along += float((change * (trained.to(PUBLISHED).float() - before)).sum())
                changed += float(change.square().sum())
    return along / changed if changed else 1.0
