"""Checkpoints that are low-rank adapters of another (Hu et al. 2021), in peft's layout: what may stand in them.

Reads names and JSON only; never opens weights.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelserving.core.architectures import CheckpointRefused, check_names, read_json
from modelserving.core.artifacts import Manifest, read_manifest

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KNOWN_KEYS = frozenset(
    {
        "peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "bias",
        "inference_mode", "base_model_name_or_path", "init_lora_weights", "revision", "peft_version",
        "auto_mapping", "megatron_core", "qalora_group_size",
    }
)  # fmt: skip
LARGEST_RANK = 1024
BASE = "base_model_name_or_path"  # in ours the base's hash, so that it belongs to the adapter's identity
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """W + scale · B A on each adapted matrix W."""

    base: str  # content hash of the checkpoint that is adapted
    rank: int
    scale: float


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter instead of whole weights."""
    return (directory / CONFIG).is_file()


def base_beside(directory: Path, *, manifest: Manifest) -> Path:
    """Where an adapter's base stands: by its hash, beside it, as in the registry."""
    base = adapter_config(directory, manifest=manifest).base
    found = directory.parent / base
    if not found.is_dir():
        raise CheckpointRefused(
            f"{directory} is an adapter of checkpoint {base}, which does not stand beside it: "
            "register that checkpoint first"
        )
    return found


def whole_weights(directory: Path) -> Path:
    """The directory with the tokenizer and the architecture: the base's, where this one is an adapter."""
    if not is_adapter(directory):
        return directory
    return base_beside(directory, manifest=read_manifest(directory))


def adapter_config(directory: Path, *, manifest: Manifest) -> AdapterConfig:
    """The adapter's settings; refuses what would not be computed as it was trained."""
    check_names(directory)
    stored = read_json(directory / CONFIG)
    if not isinstance(stored, dict):
        raise CheckpointRefused(f"{directory / CONFIG} holds no JSON object")
    if stored.get("peft_type") != "LORA" or stored.get("bias", "none") != "none":
        raise CheckpointRefused(f"{CONFIG} is not of plain LoRA without biases: merge it instead")
    _refuse_variants(stored)
    rank, alpha = stored.get("r"), stored.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 < rank <= LARGEST_RANK:
        raise CheckpointRefused(
            f"{CONFIG}: r is {rank!r}, give a whole number up to {LARGEST_RANK}"
        )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1e6:
        raise CheckpointRefused(f"{CONFIG}: lora_alpha is {alpha!r}, give a number above 0")
    base = _base(stored, parents=[str(each) for each in manifest.parents])
    return AdapterConfig(base=base, rank=rank, scale=alpha / rank)


def _base(stored: Mapping[str, Any], *, parents: Sequence[str]) -> str:
    """The hash of the base: named by the config, else the only parent."""
    named = stored.get(BASE)
    if isinstance(named, str) and HASH.fullmatch(named):
        if named not in parents:
            raise CheckpointRefused(
                f"{CONFIG} names the base {named}, which is none of the manifest's parents: publish it anew"
            )
        return named
    if len(parents) != 1 or not HASH.fullmatch(parents[0]):
        raise CheckpointRefused(
            f"{CONFIG} names no base by its hash, and the manifest has {len(parents)} parents: "
            "an adapter has one, its base"
        )
    return parents[0]


def _refuse_variants(stored: Mapping[str, Any]) -> None:
    """Settings that are not known may stand there only if they are off, as peft writes them."""
    for key, value in stored.items():
        is_off = value is None or value is False or value in ({}, [], "")
        if key not in KNOWN_KEYS and not is_off:
            raise CheckpointRefused(
                f"{CONFIG} sets {key}, which is not computed here: merge the adapter and publish whole weights"
            )
