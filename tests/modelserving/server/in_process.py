"""An engine without its thread: tests run its turns themselves, one after the other."""

import itertools
from pathlib import Path
from typing import Any

import torch

from modelserving.server.checkpoints import CheckpointReader, ServedCheckpoint, ServingLimits
from modelserving.server.engine import Engine
from modelserving.server.metrics import Metrics
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model


def engine_of(**limits: Any) -> Engine:
    """An engine whose clock goes on by one each time it is read."""
    ticks = itertools.count(1.0)
    return Engine(limits=ServingLimits(**limits), metrics=Metrics(), clock=lambda: next(ticks))


def policy(engine: Engine, directory: Path, *, seed: int = 1, **sizes: Any) -> ServedCheckpoint:
    """A tiny language model, adopted."""
    make_tiny_language_model(directory, seed=seed, **sizes)
    return _adopted(engine, directory)


def ranker(engine: Engine, directory: Path, *, seed: int = 2) -> ServedCheckpoint:
    """A tiny preference model, adopted."""
    make_tiny_preference_model(directory, seed=seed)
    return _adopted(engine, directory)


def reader_of(engine: Engine, root: Path) -> CheckpointReader:
    """Reads directories below `root` for the engine."""
    return CheckpointReader(
        roots=(root.resolve(),), device=torch.device("cpu"), dtype=torch.float32,
        limits=engine.limits,
    )  # fmt: skip


def _adopted(engine: Engine, directory: Path) -> ServedCheckpoint:
    checkpoint = reader_of(engine, directory.parent).read(
        str(directory), name=directory.name, now=engine.clock()
    )
    engine.adopt(checkpoint)
    return checkpoint
