"""Seeds, threads, device and precision, set once and explicitly.

It does not know what is trained.
"""

import os
import random
from typing import Literal

import numpy as np
import torch

from modelserving.lm.products import NEEDS, has_int16_products, multiply_in_int16
from training.config import ConfigError, RunConfig, kind_of


def prepare(config: RunConfig) -> torch.device:
    """Set threads and seeds, how matrices are multiplied, and pick the device; refuses what is not there."""
    torch.set_num_threads(config.threads)
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    device = device_of(config)
    if device.type == "cuda":  # under torchrun each process has a GPU of its own
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    multiply_in_int16(is_on=_multiplies_in_int16(config, device=device))
    return device


def _multiplies_in_int16(config: RunConfig, *, device: torch.device) -> bool:
    on_cpu = device.type == "cpu"
    if config.precision == "fastest":
        return on_cpu and fastest_on_cpu() == "int16"
    if config.precision != "int16":
        return False
    if kind_of(config) in ("language_model", "context_distillation"):
        raise ConfigError(
            "precision is int16, which language models do not know: set it to fastest"
        )
    if not on_cpu or not has_int16_products():
        raise ConfigError(
            f"precision is int16, and there are no such products here ({NEEDS}): set it to fastest"
        )
    return True


def device_of(config: RunConfig) -> torch.device:
    """The device that a configuration asks for; refuses a GPU that is not there."""
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise ConfigError("device is cuda, but no GPU is visible: set device to auto or cpu")
    return torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")


def precision_of(config: RunConfig, *, device: torch.device) -> torch.dtype:
    """Data type of the forward and backward pass; with products in int16 it is float32 between them."""
    on_gpu = device.type == "cuda"
    if config.precision == "auto":
        return torch.bfloat16 if on_gpu else torch.float32
    if config.precision == "fastest":
        return torch.bfloat16 if on_gpu or fastest_on_cpu() == "bfloat16" else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def fastest_on_cpu() -> Literal["bfloat16", "int16", "float32"]:
    """What this processor multiplies fastest."""
    if cpu_multiplies_bfloat16():
        return "bfloat16"
    return "int16" if has_int16_products() else "float32"


def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16 products; without them they are slower than float32."""
    return bool(
        torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 -- there is no public name
        or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    )
