"""Checkpoints that are low-rank adapters of another (Hu et al. 2021), in peft's layout: what may stand in them.

Reads names and JSON only; never opens weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelserving.core.architectures import CheckpointRefused, check_names, read_json
from modelserving.core.artifacts import Manifest

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KNOWN_KEYS = frozenset(
    {
        "peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "bias",
        "inference_mode", "base_model_name_or_path", "init_lora_weights", "revision", "peft_version",
        "auto_mapping", "megatron_core", "qalora_group_size",
    }
)  # fmt: skip
LARGEST_RANK = 1024


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """W + scale · B A on each adapted matrix W."""

    base: str  # content hash of the checkpoint that is adapted
    rank: int
    scale: float


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter instead of whole weights."""
    return (directory / CONFIG).is_file()


def adapter_config(directory: Path, *, manifest: Manifest) -> AdapterConfig:
    """The adapter's settings; refuses what would not be computed as it was trained."""
    check_names(directory)
    stored = read_json(directory / CONFIG)
    if not isinstance(stored, dict):
        raise CheckpointRefused(f"{directory / CONFIG} holds no JSON object")
    if stored.get("peft_type") != "LORA" or stored.get("bias", "none") != "none":
        raise CheckpointRefused(f"{CONFIG} is not of plain LoRA without biases: merge it instead")
    _refuse_variants(stored)
    if len(manifest.parents) != 1:
        raise CheckpointRefused(
            f"{directory} has {len(manifest.parents)} parents in its manifest: an adapter has one, its base"
        )
    rank, alpha = stored.get("r"), stored.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 < rank <= LARGEST_RANK:
        raise CheckpointRefused(
            f"{CONFIG}: r is {rank!r}, give a whole number up to {LARGEST_RANK}"
        )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
        raise CheckpointRefused(f"{CONFIG}: lora_alpha is {alpha!r}, give a number above 0")
    return AdapterConfig(base=str(manifest.parents[0]), rank=rank, scale=alpha / rank)


def _refuse_variants(stored: Mapping[str, Any]) -> None:
    """Settings that are not known may stand there only if they are off, as peft writes them."""
    for key, value in stored.items():
        is_off = value is None or value is False or value in ({}, [], "")
        if key not in KNOWN_KEYS and not is_off:
            raise CheckpointRefused(
                f"{CONFIG} sets {key}, which is not computed here: merge the adapter and publish whole weights"
            )
