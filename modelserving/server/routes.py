"""What each route does, in terms of the engine and the checkpoint reader.

Does not know how requests are routed or authorised.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from modelserving.server.checkpoints import CheckpointReader, ServedCheckpoint
from modelserving.server.device import is_out_of_memory
from modelserving.server.engine import Engine
from modelserving.server.errors import BadRequest, Overloaded, ServingError, out_of_memory
from modelserving.server.generation import context_tokens
from modelserving.server.http import Exchange
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
        self._one_load = asyncio.Lock()
        self._loading: dict[str, asyncio.Future[ServedCheckpoint]] = {}

    async def preload(self) -> None:
        """Load what the command line names; what is refused is logged and left out."""
        for path in self._preload:
            try:
                loaded = await self._load(path, name=None)
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
        values = await score(request.dialogues, ranker=request.model, engine=self._engine)
        await exchange.reply({"object": "list", "model": request.model, "scores": values})

    async def models(self, exchange: Exchange) -> None:
        """GET /v1/models."""
        offset = self._wall_clock() - self._engine.clock()
        found = [
            {
                "id": each.name,
                "object": "model",
                "created": int(each.loaded_at + offset),
                "owned_by": "local",
                "kind": each.kind,
                "hash": each.hash,
                "base": each.base.hash if each.base else None,
                "max_model_len": context_tokens(each),
            }
            for each in self._engine.checkpoints.values()
            if not each.draining
        ]
        await exchange.reply({"object": "list", "data": found})

    async def load(self, exchange: Exchange) -> None:
        """POST /v1/checkpoints/load {"path", "name"?}: load a verified directory while serving goes on."""
        fields = Fields(await exchange.json(limit=1 << 16))
        name = fields.text("name") if fields.has("name") else None
        if name is not None and not 0 < len(name) <= LONGEST_NAME:
            raise BadRequest(f"name must have 1 to {LONGEST_NAME} characters", code="invalid_value")
        checkpoint = await self._load(fields.text("path"), name=name)
        await exchange.reply(
            {"name": checkpoint.name, "hash": checkpoint.hash, "kind": checkpoint.kind,
             "bytes": checkpoint.bytes_used}
        )  # fmt: skip

    async def _load(self, path: str, *, name: str | None) -> ServedCheckpoint:
        """Load once, however many ask at the same time."""
        key = f"{path}\n{name}"
        if key not in self._loading:
            self._loading[key] = asyncio.ensure_future(self._load_now(path, name=name))
            self._loading[key].add_done_callback(lambda _: self._loading.pop(key))
        return await asyncio.shield(self._loading[key])

    async def _load_now(self, path: str, *, name: str | None) -> ServedCheckpoint:
        present = self._engine.checkpoints.get(name or "")
        if present is not None and not present.draining:
            if present.path != str(self._reader.allowed(path)) and present.hash != name:
                raise _name_taken(name)
            return present
        base = await self._base(path)
        async with self._one_load:
            checkpoint = await self._read(path, name=name, base=base)
        present = self._engine.checkpoints.get(checkpoint.name)
        if present is not None and not present.draining:
            if present.hash != checkpoint.hash:
                raise _name_taken(name)
            return present
        try:
            await asyncio.wrap_future(self._engine.call(lambda: self._engine.adopt(checkpoint)))
        except ServingError:
            raise
        except Exception as unforeseen:
            if is_out_of_memory(unforeseen):
                raise out_of_memory("in the warm-up") from None
            logger.exception("warming up %s failed", path)
            raise BadRequest(
                f"refused: the warm-up failed: {unforeseen}", code="checkpoint_refused"
            ) from None
        return checkpoint

    async def _base(self, path: str) -> ServedCheckpoint | None:
        """The checkpoint that an adapter's directory needs, loaded if it is not; None for whole weights."""
        wanted = await asyncio.to_thread(self._reader.base_of, path)
        if wanted is None:
            return None
        for each in self._engine.checkpoints.values():
            if each.hash == wanted and not each.draining:
                return each
        directory = self._reader.directory_of(wanted, beside=path)
        if self._reader.base_of(str(directory)) is not None:
            raise BadRequest("the base is an adapter itself: merge it", code="checkpoint_refused")
        return await self._load(str(directory), name=wanted)

    async def _read(
        self, path: str, *, name: str | None, base: ServedCheckpoint | None
    ) -> ServedCheckpoint:
        """Read on a thread that then ends: one that stays keeps its own team of OpenMP threads.

        With two teams alive, libgomp lets all threads sleep at every barrier, the engine's too: 25 µs become 58.
        """
        loop, engine, now = asyncio.get_running_loop(), self._engine, self._engine.clock()

        def make_room(wanted: int) -> None:
            engine.call(lambda: engine.memory.make_room(wanted, wanted_too=base)).result()

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as loader:
            return await loop.run_in_executor(
                loader,
                lambda: self._reader.read(path, name=name, now=now, make_room=make_room, base=base),
            )

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


def _name_taken(name: str | None) -> BadRequest:
    return BadRequest(f"the name {name!r} is taken: unload it first", code="name_taken")


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
