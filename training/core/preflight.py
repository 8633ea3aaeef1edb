"""Refuse a run that would die of too little disk or memory, before its first step.

It does not know what is trained, only how many bytes it will need.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelserving.core.host_memory import available_memory
from training.config import ConfigError

WEIGHTS = "the number of trained weights: set lora.rank above 0, or start from a smaller model"


class TooLittleRoom(ConfigError):
    """Disk or memory that will not suffice; the message says how much is needed."""


def require_space(
    directory: Path, *, checkpoint_bytes: int, keep: int, standing: int, kept_bytes: int = 0
) -> None:
    """What is still to come must fit: checkpoints, one more than is kept until the oldest goes, and what is kept for good."""
    more = max(1, keep + 1 - standing)
    free, needed = shutil.disk_usage(directory).free, more * checkpoint_bytes + kept_bytes
    if free < needed:
        wanted = "the next checkpoint needs" if more == 1 else f"{more} checkpoints need"
        cures = [f"lower keep_checkpoints, now {keep}"] if keep > 1 and more > 1 else []
        if kept_bytes:
            wanted = f"{wanted.rpartition(' ')[0]} and those published on the way need"
            cures.append("publish more rarely (publish_every)")
        raise TooLittleRoom(
            f"{free / 1e6:.0f} MB are free under {directory}, {wanted} {needed / 1e6:.0f} MB: "
            + ", or ".join([f"free {(needed - free) / 1e6:.0f} MB more", *cures])
        )


def require_memory(*, needed_bytes: int, lower: str) -> None:
    """The run's own estimate must fit into the memory that is available; `lower` names the cure."""
    available = available_memory()
    if available is not None and available < needed_bytes:
        raise TooLittleRoom(
            f"{available / 1e6:.0f} MB of memory are available, the run needs about "
            f"{needed_bytes / 1e6:.0f} MB: lower {lower}"
        )


def require_memory_of(parts: Mapping[str, int]) -> None:
    """The same for an estimate in parts, each under what would lower it: the largest names the cure."""
    lower = max(parts, key=lambda each: parts[each])
    require_memory(needed_bytes=sum(parts.values()), lower=lower)


def packed_training_bytes(
    *,
    trained: int,
    shapes: Sequence[Any],
    tokens: int,
    threads: int,
    logits: int = 0,
    keeps_layers: bool = True,
) -> dict[str, int]:
    """What training on packed rows adds to the weights that are loaded, roughly and rather too much than too little.

    Two moments for a trained parameter, and its gradient, or a sum of them and the newest in each of several threads;
    30 float32 numbers per token of the rows that are read at once, hidden unit and layer (without `keeps_layers`: of one
    layer, and one number for each other), and every logit with its gradient. `shapes` are the configs of the models
    that learn.
    """
    units = 0
    for shape in (each.get_text_config() for each in shapes):
        layers = 30 * shape.num_hidden_layers if keeps_layers else 30 + shape.num_hidden_layers
        units += shape.hidden_size * layers
    return {
        WEIGHTS: 8 * trained,
        "threads": (8 * threads if threads > 1 else 4) * trained,
        "micro_tokens": 4 * tokens * units + 8 * logits,
    }
