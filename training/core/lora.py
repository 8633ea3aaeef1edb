"""Low-rank adapters (Hu et al. 2021, through peft): published merged into plain weights, or by themselves.

It does not know what is trained.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor, nn

from modelserving.core.adapters import BASE as BASE_HASH
from modelserving.core.adapters import CONFIG, WEIGHTS
from training.config import ConfigError, LoraConfig

BASE = ".base_layer"
DOWN, UP = ".lora_A.default", ".lora_B.default"


def add_adapters(
    model: nn.Module, *, config: LoraConfig, seed: int, also_train: tuple[str, ...] = ()
) -> nn.Module:
    """Freeze the model but for adapters on the target modules, and for the modules of `also_train`."""
    if config.rank == 0:
        return model
    _require_targets(model, config=config)
    torch.manual_seed(seed)
    settings = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=list(config.target_modules),
    )
    inject_adapter_in_model(settings, model)
    for name, parameter in model.named_parameters():
        is_adapter = ".lora_" in name
        is_head = name.split(".", 1)[0] in also_train
        parameter.requires_grad_(requires_grad=is_adapter or is_head)
    return model


def _require_targets(model: nn.Module, *, config: LoraConfig) -> None:
    """Every module that peft will adapt must be a linear layer with weights of its own: others are not merged.

    The output layer of adapters that are published by themselves is the base's: none is added to it in serving.
    """
    targets = config.target_modules
    own = {name for name, _ in model.named_parameters()}
    ends = tuple(f".{target}" for target in targets)
    found = {name: each for name, each in model.named_modules() if f".{name}".endswith(ends)}
    if not found:
        raise ConfigError(f"lora.target_modules {targets} fit no module of this model: change it")
    for name, module in found.items():
        if not isinstance(module, nn.Linear):
            raise ConfigError(
                f"lora.target_modules names {name}, which is not a linear layer but a "
                f"{type(module).__name__}: name others, or set lora.rank to 0"
            )
        if f"{name}.weight" not in own:
            raise ConfigError(
                f"lora.target_modules names {name}, which shares its weights with another module: leave it out"
            )
        if config.publish == "adapter" and name == "lm_head":
            raise ConfigError(
                "lora.target_modules names lm_head, which is served as the base has it: leave it out, "
                "or set lora.publish to merged"
            )


def merged(parameters: Mapping[str, Tensor], *, config: LoraConfig) -> dict[str, Tensor]:
    """Weights under their published names, float32: W + α/r · B A where an adapter was trained."""
    if config.rank == 0:
        return dict(parameters)
    scale = config.alpha / config.rank
    found: dict[str, Tensor] = {}
    for name, weight in parameters.items():
        if ".lora_" in name:
            continue
        module = name.removesuffix(".weight")
        if not module.endswith(BASE):
            found[name.replace(f"{BASE}.", ".")] = weight.float()
            continue
        plain = module.removesuffix(BASE)
        down, up = (parameters[f"{plain}{part}.weight"] for part in (DOWN, UP))
        found[f"{plain}.weight"] = weight.detach().float() + scale * (up @ down).detach()
    return found


def write_adapter(
    parameters: Mapping[str, Tensor], *, directory: Path, settings: Mapping[str, Any], base: str
) -> None:
    """Write the adapters alone, in peft's layout; `settings` are those of `LoraConfig`, `base` a checkpoint's hash."""
    weights = {
        f"base_model.model.{name.replace('.default.', '.')}": tensor.detach().cpu().contiguous()
        for name, tensor in parameters.items()
        if DOWN in name or UP in name
    }
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    written = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": settings["rank"],
        "lora_alpha": settings["alpha"], "lora_dropout": 0.0, "bias": "none", BASE_HASH: base,
        "target_modules": sorted(settings["target_modules"]), "inference_mode": True,
    }  # fmt: skip
    (directory / CONFIG).write_text(json.dumps(written, indent=2), encoding="utf-8")
