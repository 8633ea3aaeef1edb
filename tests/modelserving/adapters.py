"""Adapters as peft writes them, over tiny checkpoints, and the same model with the adapter merged."""

import warnings
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedModel

from modelserving.core.artifacts import content_hash, write_manifest

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write_adapter(
    directory: Path,
    *,
    base: Path,
    parent: str,
    seed: int,
    rank: int = 4,
    targets: tuple[str, ...] = ALL,
) -> PreTrainedModel:
    """Write an adapter with random numbers; returns the merged model."""
    torch.manual_seed(seed)
    settings = LoraConfig(
        r=rank, lora_alpha=8, target_modules=list(targets), init_lora_weights=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(base), settings)
    adapted.save_pretrained(directory)
    publish(directory, parent=parent)
    return adapted.merge_and_unload().eval()


def publish(directory: Path, *, parent: str) -> str:
    """Write the manifest of whatever stands in the directory; returns the hash."""
    return content_hash(
        write_manifest(
            directory, kind="policy", parents=[parent], config={}, code="",
            created="2026-01-01T00:00:00+00:00",
        )
    )  # fmt: skip
