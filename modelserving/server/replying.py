"""Answer the two generation routes: whole, streamed, or best-of-k.

Does not know how requests reach it or how tokens are drawn.
"""

import asyncio
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from modelserving.core.ranking import NotRankable
from modelserving.server.answers import Answers
from modelserving.server.engine import Engine
from modelserving.server.errors import GenerationFailed
from modelserving.server.generation import Piece, Running, Sample, pieces, rank, start
from modelserving.server.http import Disconnected, Exchange, json_bytes
from modelserving.server.protocol import GenerationRequest

LIFE_SECONDS = 10.0  # between signs of life in a stream; clients wait for 30
STILL_SECONDS = 20.0  # an engine that stands still for longer is nothing to wait for

T = TypeVar("T")


class Replying:
    """One generation request from start to end."""

    def __init__(
        self, *, request: GenerationRequest, engine: Engine, exchange: Exchange, deadline: float
    ) -> None:
        """`deadline` is in seconds from the start."""
        self._request = request
        self._engine = engine
        self._exchange = exchange
        self._deadline = deadline
        self._ends = math.inf  # on the engine's clock

    async def answer(self, *, now: float, created: int) -> None:
        """Sample and answer; `now` is when the request came."""
        self._ends = now + self._deadline
        running = await start(self._request, engine=self._engine, now=now)
        prefix = "chatcmpl" if self._request.kind == "chat" else "cmpl"
        answers = Answers(
            request=self._request,
            running=running,
            identity=f"{prefix}-{uuid.uuid4().hex}",
            created=created,
        )
        async with self._signs_of_life():
            if self._request.best_of is not None:
                await self._best_of(running, answers)
            elif self._request.stream:
                await self._stream(running, answers)
            else:
                async with aclosing(self._pieces(running)) as found:
                    async for _ in found:
                        pass
                await self._reply(lambda: answers.whole(_all_choices(running, answers)))

    async def _reply(self, build: Callable[[], dict[str, Any]]) -> None:
        body = await self._built(lambda: json_bytes(build()))
        await self._exchange.reply_bytes(body, media_type="application/json")

    async def _built(self, build: Callable[[], T]) -> T:
        """What is built; prompts and single tokens as text take long, and others are answered meanwhile."""
        is_long = self._request.echo or self._request.logprobs
        return await asyncio.to_thread(build) if is_long else build()

    @asynccontextmanager
    async def _signs_of_life(self) -> AsyncIterator[None]:
        """Beside what is done meanwhile, tell the reader of a stream that it is being done."""
        telling = asyncio.create_task(self._tell_of_life()) if self._request.stream else None
        try:
            yield
        finally:
            if telling is not None:
                telling.cancel()

    async def _tell_of_life(self) -> None:
        try:
            while True:
                await asyncio.sleep(LIFE_SECONDS)
                if self._engine.is_moving(within=STILL_SECONDS):
                    await self._exchange.sign_of_life()
        except Disconnected:
            return

    async def _pieces(self, running: list[Running]) -> AsyncGenerator[Piece, None]:
        """Pieces of all prompts as they come."""
        if len(running) == 1:
            own = pieces(running[0], engine=self._engine, deadline=self._deadline)
            async with aclosing(own):
                async for piece in own:
                    yield piece
            return
        merged: asyncio.Queue[Piece | None] = asyncio.Queue()
        merging = asyncio.create_task(self._merge(running, merged))
        try:
            while (piece := await merged.get()) is not None:
                yield piece
            await merging  # what went wrong is raised here
        finally:  # at once where the reader is gone: what it asked for is given back
            merging.cancel()
            await asyncio.gather(merging, return_exceptions=True)

    async def _merge(self, running: list[Running], merged: "asyncio.Queue[Piece | None]") -> None:
        async def pump(one: Running) -> None:
            async for piece in pieces(one, engine=self._engine, deadline=self._deadline):
                merged.put_nowait(piece)

        try:
            async with asyncio.TaskGroup() as group:
                for one in running:
                    group.create_task(pump(one))
        finally:
            merged.put_nowait(None)

    async def _stream(self, running: list[Running], answers: Answers) -> None:
        exchange, opened = self._exchange, set[int]()
        async with aclosing(self._pieces(running)) as found:
            async for piece in found:
                if not exchange.started:
                    await exchange.start_events()
                if piece.index not in opened:
                    opened.add(piece.index)
                    await self._open(running, answers, piece.index)
                await exchange.event(answers.piece(piece))
        await self._close_stream(answers)

    async def _open(self, running: list[Running], answers: Answers, index: int) -> None:
        if self._request.kind == "chat":
            await self._exchange.event(answers.opening(index))
        elif self._request.echo:
            own = running[index // self._request.n]
            await self._exchange.event(await self._built(lambda: answers.echo_chunk(own, index)))

    async def _close_stream(self, answers: Answers) -> None:
        if not self._exchange.started:
            await self._exchange.start_events()
        if self._request.include_usage or self._request.return_token_ids:
            await self._exchange.event(answers.last())
        await self._exchange.end_events()

    async def _best_of(self, running: list[Running], answers: Answers) -> None:
        """Sample k of each prompt, rank, return the best n or all; a stream says how far it is."""
        assert self._request.best_of is not None
        done, total = 0, sum(len(each.samples) for each in running)
        async with aclosing(self._pieces(running)) as found:
            async for piece in found:
                if piece.finish is not None:
                    done += 1
                    await self._tell(answers, state="sampling", done=done, total=total)
        await self._tell(answers, state="ranking", done=done, total=total)
        picked: list[tuple[Running, Sample]] = []
        all_ranked: list[dict[str, Any]] = []
        for one in running:
            try:
                left = self._ends - self._engine.clock()
                order = await rank(self._request, one, engine=self._engine, deadline=left)
            except NotRankable as wrong:
                raise GenerationFailed(str(wrong), code="not_rankable") from None
            picked += [(one, one.samples[place]) for place in order[: self._request.n]]
            all_ranked += [_candidate(one.samples[place], place) for place in order]
        extra: dict[str, Any] = {
            "state": "ready", "done": done, "of": total, "ranker": self._request.best_of.ranker
        }  # fmt: skip
        if self._request.best_of.return_all:
            extra["candidates"] = all_ranked
        await self._send_best(picked, answers, extra)

    async def _tell(self, answers: Answers, *, state: str, done: int, total: int) -> None:
        if not self._request.stream:
            return
        if not self._exchange.started:
            await self._exchange.start_events()
        await self._exchange.event(
            answers.chunk([], best_of={"state": state, "done": done, "of": total})
        )

    async def _send_best(
        self, picked: list[tuple[Running, Sample]], answers: Answers, extra: dict[str, Any]
    ) -> None:
        def choices() -> list[dict[str, Any]]:
            return [answers.choice(one, sample, index=i) for i, (one, sample) in enumerate(picked)]

        if not self._request.stream:
            await self._reply(lambda: answers.whole(choices(), best_of=extra))
            return
        for choice in await self._built(choices):
            if "message" in choice:
                choice["delta"] = choice.pop("message")
            await self._exchange.event(answers.chunk([choice], best_of=extra))
        await self._close_stream(answers)


def _all_choices(running: list[Running], answers: Answers) -> list[dict[str, Any]]:
    return [
        answers.choice(one, sample, index=one.first_index + place)
        for one in running
        for place, sample in enumerate(one.samples)
    ]


def _candidate(sample: Sample, place: int) -> dict[str, Any]:
    return {
        "sample": place,
        "text": sample.text,
        "score": sample.score,
        "finish_reason": sample.finish,
        "token_ids": sample.token_ids,
        "logprob": sum(token.logprob for token in sample.tokens),
    }
