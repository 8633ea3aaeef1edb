"""What each route does, in terms of the engine and the checkpoint reader.

Does not know how requests are routed or authorised.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelserving.server.checkpoints import CheckpointReader, ServedCheckpoint
from modelserving.server.engine import Engine
from modelserving.server.errors import BadRequest, Overloaded, ServingError
from modelserving.server.generation import context_tokens
from modelserving.server.http import Exchange
from modelserving.server.loads import Loads
from modelserving.server.protocol import (
    Fields,
    GenerationRequest,
    parse_chat,
    parse_completion,
    parse_scores,
)
from modelserving.server.replying import Replying
from modelserving.server.scores import score

logger = logging.getLogger(__name__)

LONGEST_NAME = 200
READY_WITHIN = 5.0  # seconds in which the engine thread must answer
Parse = Callable[..., GenerationRequest]


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """What one request may cost."""

    body_bytes: int = 4 << 20
    seconds: float = 600.0


class Routes:
    """The handlers."""

    def __init__(
        self,
        *,
        engine: Engine,
        reader: CheckpointReader,
        limits: RequestLimits,
        wall_clock: Callable[[], float],
        preload: Sequence[str],
    ) -> None:
        """`preload` are directories to load before the server answers."""
        self._engine = engine
        self._reader = reader
        self._limits = limits
        self._wall_clock = wall_clock
        self._preload = preload
        self._loads = Loads(engine=engine, reader=reader)

    async def preload(self) -> None:
        """Load what the command line names; what is refused is logged and left out."""
        for path in self._preload:
            try:
                loaded = await self._loads.load(path, name=None)
                logger.info("loaded %s as %s", path, loaded.name)
            except ServingError as wrong:
                logger.warning("cannot preload %s: %s", path, wrong.message)

    async def chat(self, exchange: Exchange) -> None:
        """POST /v1/chat/completions."""
        await self._generate(exchange, parse_chat)

    async def completions(self, exchange: Exchange) -> None:
        """POST /v1/completions."""
        await self._generate(exchange, parse_completion)

    async def _generate(self, exchange: Exchange, parse: Parse) -> None:
        now = self._engine.clock()
        content = await exchange.json(limit=self._limits.body_bytes)
        request = parse(content, fresh_seed=secrets.randbits(63))
        replying = Replying(
            request=request, engine=self._engine, exchange=exchange, deadline=self._limits.seconds
        )
        await replying.answer(now=now, created=int(self._wall_clock()))

    async def scores(self, exchange: Exchange) -> None:
        """POST /v1/scores."""
        request = parse_scores(await exchange.json(limit=self._limits.body_bytes))
        values = await score(
            request.dialogues, ranker=request.model, engine=self._engine,
            deadline=self._limits.seconds,
        )  # fmt: skip
        await exchange.reply({"object": "list", "model": request.model, "scores": values})

    async def models(self, exchange: Exchange) -> None:
        """GET /v1/models."""
        loaded = [each for each in self._engine.checkpoints.values() if not each.draining]
        found = [self._model(each) for each in loaded]
        await exchange.reply({"object": "list", "data": found})

    async def model(self, exchange: Exchange, *, name: str) -> None:
        """GET /v1/models/{name}."""
        await exchange.reply(self._model(self._engine.find(name)))

    def _model(self, checkpoint: ServedCheckpoint) -> Mapping[str, Any]:
        offset = self._wall_clock() - self._engine.clock()
        return {
            "id": checkpoint.name,
            "object": "model",
            "created": int(checkpoint.loaded_at + offset),
            "owned_by": "local",
            "kind": checkpoint.kind,
            "hash": checkpoint.hash,
            "base": checkpoint.base.hash if checkpoint.base else None,
            "max_model_len": context_tokens(checkpoint),
        }

    async def load(self, exchange: Exchange) -> None:
        """POST /v1/checkpoints/load {"path", "name"?}: load a verified directory while serving goes on."""
        fields = Fields(await exchange.json(limit=1 << 16))
        name = fields.text("name") if fields.has("name") else None
        if name is not None and not 0 < len(name) <= LONGEST_NAME:
            raise BadRequest(f"name must have 1 to {LONGEST_NAME} characters", code="invalid_value")
        checkpoint = await self._loads.load(fields.text("path"), name=name)
        await exchange.reply(
            {"name": checkpoint.name, "hash": checkpoint.hash, "kind": checkpoint.kind,
             "bytes": checkpoint.bytes_used}
        )  # fmt: skip

    async def unload(self, exchange: Exchange) -> None:
        """POST /v1/checkpoints/unload {"name"}: what runs is finished first."""
        name = Fields(await exchange.json(limit=1 << 16)).text("name")
        await asyncio.wrap_future(self._engine.call(lambda: self._engine.unload(name)))
        await exchange.reply({"name": name, "unloading": True})

    async def healthz(self, exchange: Exchange) -> None:
        """GET /healthz: the process answers."""
        await exchange.reply({"status": "ok"})

    async def readyz(self, exchange: Exchange) -> None:
        """GET /readyz: the engine thread answers, and not every checkpoint fails."""
        answer = asyncio.wrap_future(self._engine.call(self._engine.try_again))
        try:
            await asyncio.wait_for(answer, READY_WITHIN)
        except TimeoutError:
            raise Overloaded(
                "the engine thread does not answer", code="engine_stuck", retry_after=5
            ) from None
        if self._engine.is_failing:
            raise Overloaded(
                f"the last step failed: {self._engine.last_failure}", code="engine_failing"
            )
        await exchange.reply({"status": "ready", "checkpoints": list(self._engine.checkpoints)})

    async def status(self, exchange: Exchange) -> None:
        """GET /v1/status: numbers for the console."""
        engine, now = self._engine, self._engine.clock()
        await exchange.reply(
            {
                "device": str(self._reader.device),
                "dtype": str(self._reader.dtype).removeprefix("torch."),
                "memory": {
                    "used_bytes": engine.bytes_used,
                    "budget_bytes": engine.memory.limit,
                },
                "tokens_per_second": engine.metrics.tokens_per_second(now=now),
                "counts": dict(engine.metrics.counts),
                "timings": engine.metrics.timings(),
                "last_failure": engine.last_failure,
                "engine_idle_s": now - engine.last_turn if engine.working else 0.0,
                "checkpoints": [_described(each, now=now) for each in engine.checkpoints.values()],
            }
        )

    async def metrics_text(self, exchange: Exchange) -> None:
        """GET /metrics: Prometheus text."""
        engine, now = self._engine, self._engine.clock()
        served = list(engine.checkpoints.values())
        gauges = [
            ("checkpoints", float(len(served))),
            ("memory_bytes", float(engine.bytes_used)),
            ("queue_length", float(sum(len(each.queue) for each in served))),
            (
                "running_samples",
                float(sum(each.sampler.running for each in served if each.sampler)),
            ),
            ("tokens_per_second", engine.metrics.tokens_per_second(now=now)),
        ]
        text = engine.metrics.prometheus(gauges)
        await exchange.reply_bytes(
            text.encode(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def _described(checkpoint: ServedCheckpoint, *, now: float) -> Mapping[str, Any]:
    sampler = checkpoint.sampler
    cache = sampler.prefix_cache if sampler else None
    return {
        "name": checkpoint.name,
        "hash": checkpoint.hash,
        "kind": checkpoint.kind,
        "path": checkpoint.path,
        "base": checkpoint.base.hash if checkpoint.base else None,
        "draining": checkpoint.draining,
        "failure": checkpoint.failure,
        "weight_bytes": checkpoint.weight_bytes,
        "bytes": checkpoint.bytes_used,
        "users": len(checkpoint.running_by_user),
        "running": sampler.running if sampler else len(checkpoint.score_jobs),
        "queued": len(checkpoint.queue),
        "idle_s": now - checkpoint.used_at,
        "prefix_tokens_reused": cache.hit_tokens if cache else 0,
        "prefix_tokens_read": cache.read_tokens if cache else 0,
    }
