"""Seeds, threads, device and precision, set once and explicitly.

It does not know what is trained.
"""

import random

import numpy as np
import torch

from training.config import ConfigError, RunConfig


def prepare(config: RunConfig) -> torch.device:
    """Set threads and seeds and pick the device; refuses a GPU that is not there."""
    torch.set_num_threads(config.threads)
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise ConfigError("device is cuda, but no GPU is visible: set device to auto or cpu")
    return torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")


def precision_of(config: RunConfig, *, device: torch.device) -> torch.dtype:
    """Data type of the forward and backward pass."""
    if config.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32
