"""Write a causal language model in the Hugging Face layout, weights in bfloat16 for serving.

It does not know manifests or training: the caller publishes the directory.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig, PretrainedConfig

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "dialogue.json",
)


def write_weights(
    tensors: Mapping[str, Tensor], *, directory: Path, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write model.safetensors; names must be those of the published layout, without ties."""
    stored = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    save_file(stored, directory / "model.safetensors", metadata={"format": "pt"})


def write_model_files(
    *,
    directory: Path,
    config: PretrainedConfig,
    tokenizer_directory: Path,
    architecture: str,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write config.json and generation_config.json and copy the tokenizer's files.

    What ends a reply stays as the tokenizer's directory has it.
    """
    published = type(config).from_dict(config.to_dict())
    published.architectures = [architecture]
    published.dtype = str(dtype).removeprefix("torch.")
    published.save_pretrained(directory)
    generation = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=_ends(tokenizer_directory) or config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )
    generation.save_pretrained(directory)
    for name in TOKENIZER_FILES:
        if (tokenizer_directory / name).exists():
            shutil.copyfile(tokenizer_directory / name, directory / name)


def _ends(directory: Path) -> int | list[int] | None:
    path = directory / "generation_config.json"
    if not path.exists():
        return None
    ends: int | list[int] | None = json.loads(path.read_text("utf-8")).get("eos_token_id")
    return ends
