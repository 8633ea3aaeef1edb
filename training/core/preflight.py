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


def require_space(directory: Path, *, checkpoint_bytes: int, keep: int, standing: int) -> None:
    """The checkpoints still to come must fit; one more stands than is kept, until the oldest goes."""
    more = max(1, keep + 1 - standing)
    free, needed = shutil.disk_usage(directory).free, more * checkpoint_bytes
    if free < needed:
        wanted = "the next checkpoint needs" if more == 1 else f"{more} checkpoints need"
        cure = f", or lower keep_checkpoints, now {keep}" if keep > 1 and more > 1 else ""
        raise TooLittleRoom(
            f"{free / 1e6:.0f} MB are free under {directory}, {wanted} {needed / 1e6:.0f} MB: "
            f"free {(needed - free) / 1e6:.0f} MB more{cure}"
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
    *, trained: int, frozen: int, shapes: Sequence[Any], tokens: int, threads: int, logits: int = 0
) -> dict[str, int]:
    """What training on packed rows keeps at once, roughly and rather too much than too little.

    16 bytes a trained parameter (weight, float32 master, two moments), 4 a frozen one; its gradient, or a sum of them
    and the newest in each of several threads; 30 float32 numbers per token of the rows that are read at once, hidden
    unit and layer, and every logit with its gradient. `shapes` are the configs of the models that learn.
    """
    units = sum(
        shape.hidden_size * shape.num_hidden_layers
        for shape in (each.get_text_config() for each in shapes)
    )
    return {
        WEIGHTS: 16 * trained + 4 * frozen,
        "threads": (8 * threads if threads > 1 else 4) * trained,
        "micro_tokens": 30 * 4 * tokens * units + 8 * logits,
    }
