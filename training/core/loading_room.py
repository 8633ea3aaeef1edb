"""Refuse checkpoints that the host's memory cannot hold before the first of them is read.

It does not know what they are trained for; what a run needs beyond their weights its own reckoning says.
"""

import os
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from modelserving.core.adapters import whole_weights
from training.config import kind_of
from training.core.preflight import require_memory
from training.core.run_directory import InputRefused, RunDirectory
from training.core.seeding import device_of
from training.core.sharding import is_cut, loading

ROLES = ("initial", "teacher", "ranker", "test_pm")
TWICE = ("ppo", "initial")  # as policy and as reference
CURE = "the size of the models: start from smaller ones"


def require_room_to_load(run: RunDirectory) -> None:
    """Every process of this host reads all weights of the run's checkpoints."""
    config = run.config
    if device_of(config).type != "cpu" and not is_cut(config, run.ranks):
        return
    how = loading(config, ranks=run.ranks, is_trained=False)
    weights = 0
    for role in filter(run.has_input, ROLES):
        copies = 2 if (kind_of(config), role) == TWICE else 1
        weights += copies * parameters_in(run.inputs(role))
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    require_memory(needed_bytes=processes * weights * how["dtype"].itemsize, lower=CURE)


def parameters_in(directory: Path) -> int:
    """Numbers in a checkpoint's weight files, told by their headers; of an adapter, those of its base."""
    return sum(map(_numbers_in, whole_weights(directory).glob("*.safetensors")))


def _numbers_in(weights: Path) -> int:
    try:
        with safe_open(weights, "pt") as stored:
            return sum(prod(stored.get_slice(name).get_shape()) for name in stored.keys())  # noqa: SIM118 -- no mapping
    except SafetensorError as broken:
        raise InputRefused(
            f"{weights} is not a safetensors file ({broken}): copy it again"
        ) from None
