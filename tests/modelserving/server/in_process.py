"""A model server within the test's own process: an engine whose turns tests run themselves, or the whole behind HTTP."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch

from modelserving.server.app import App
from modelserving.server.checkpoints import CheckpointReader, ServedCheckpoint, ServingLimits
from modelserving.server.engine import Engine
from modelserving.server.metrics import Metrics
from modelserving.server.routes import RequestLimits, Routes
from tests.fake_http import running
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model


def engine_of(*, clock: Callable[[], float] | None = None, **limits: Any) -> Engine:
    """An engine whose clock goes on by one each time it is read."""
    ticks = itertools.count(1.0)
    clock = clock or (lambda: next(ticks))
    return Engine(limits=ServingLimits(**limits), metrics=Metrics(), clock=clock)


def policy(engine: Engine, directory: Path, *, seed: int = 1, **sizes: Any) -> ServedCheckpoint:
    """A tiny language model, adopted."""
    make_tiny_language_model(directory, seed=seed, **sizes)
    return _adopted(engine, directory)


def ranker(engine: Engine, directory: Path, *, seed: int = 2) -> ServedCheckpoint:
    """A tiny preference model, adopted."""
    make_tiny_preference_model(directory, seed=seed)
    return _adopted(engine, directory)


def reader_of(
    engine: Engine, root: Path, *, dtype: torch.dtype = torch.float32
) -> CheckpointReader:
    """Reads directories below `root` for the engine."""
    return CheckpointReader(
        roots=(root.resolve(),), device=torch.device("cpu"), dtype=dtype, limits=engine.limits
    )


def _adopted(engine: Engine, directory: Path) -> ServedCheckpoint:
    checkpoint = reader_of(engine, directory.parent).read(
        str(directory), name=directory.name, now=engine.clock(), make_room=engine.memory.make_room
    )
    engine.adopt(checkpoint)
    return checkpoint


@dataclass(frozen=True, kw_only=True)
class Here:
    """A server in a thread, with checkpoints named `policy` and `ranker`."""

    url: str
    engine: Engine
    root: Path

    def client(self) -> httpx.Client:
        """A plain HTTP client."""
        return httpx.Client(base_url=self.url, timeout=60)

    def post(self, path: str, content: Any) -> httpx.Response:
        """One request with a client of its own."""
        with self.client() as client:
            return client.post(path, json=content)

    def lines(self, path: str, content: Any) -> list[str]:
        """The lines of a streamed answer that are not empty."""
        with self.client() as client, client.stream("POST", path, json=content) as answer:
            return [line for line in answer.iter_lines() if line]


@contextmanager
def serving_here(root: Path, **limits: Any) -> Iterator[Here]:
    """Serve the two checkpoints; no secret is asked for."""
    engine = engine_of(clock=time.monotonic, **limits)
    routes = Routes(
        engine=engine, reader=reader_of(engine, root), limits=RequestLimits(),
        wall_clock=time.time, preload=(),
    )  # fmt: skip
    policy(engine, root / "policy")
    ranker(engine, root / "ranker")
    with running(App(routes=routes, engine=engine, secret=None)) as url:
        yield Here(url=url, engine=engine, root=root)
