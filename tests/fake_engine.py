"""A small real model server without a model: same routes, text made up from the seed, and ways to misbehave.

`python -m tests.fake_engine --port 8100` serves; tests start it in a thread. Knows no torch and no Django.

modes: echo (repeats the last message, then seeded words), slow (the same, one word per half second),
crash (breaks off after `crash_after` words), stall (falls silent there), hang (never says a word), garbage (no JSON),
full (503), refuse (400), quote (400, with the last message in it), diverged (no numbers, said in the stream), never_loads (refuses to load).
"""

import argparse
import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.fake_http import Exchange, lifespan, running

__all__ = ["FakeEngine", "running"]

WORDS = (
    "a",
    "calm",
    "sea",
    "under",
    "two",
    "old",
    "boats",
    "turns",
    "blue",
    "and",
    "then",
    "green",
)


@dataclass
class FakeEngine:
    """Settings that tests change while it runs, and what it saw."""

    mode: str = "echo"
    words: int = 12
    words_per_second: float = 0.0  # 0: as fast as it goes
    crash_after: int = 3
    fail_times: int = 0  # answer this many requests as `mode` says, then behave
    secret: str = ""
    memory_bytes: int = 1 << 30
    needs_loading: bool = True
    loaded: set[str] = field(default_factory=set)
    loads: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    finished: int = 0
    cancelled: int = 0

    def text_of(self, request: dict[str, Any], *, sample: int = 0) -> list[str]:
        """The words of a reply: they depend on the last message, the seed and the sample alone."""
        said = request["messages"][-1]["content"] if request.get("messages") else ""
        rng = random.Random(f"{request.get('seed', 0)}/{sample}/{said}")
        count = min(self.words, int(request.get("max_tokens") or self.words))
        return [f"{said[:40]}:", *(rng.choice(WORDS) for _ in range(count))]

    def score_of(self, text: str) -> float:
        """A score that depends on the text alone."""
        return round(random.Random(text).uniform(-2, 2), 6)

    @property
    def pause(self) -> float:
        """Seconds between two words."""
        if self.mode == "slow":
            return 0.5
        return 1 / self.words_per_second if self.words_per_second else 0.0

    def misbehaves(self) -> str:
        """How the next request is answered."""
        if self.mode in {"echo", "slow"}:
            return self.mode
        if self.fail_times > 0:
            self.fail_times -= 1
            if self.fail_times == 0:
                mode, self.mode = self.mode, "echo"
                return mode
        return self.mode

    # --- ASGI ------------------------------------------------------------------------------------

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        exchange = Exchange(scope, receive, send)
        path = scope["path"]
        if self.secret and exchange.header("authorization") != f"Bearer {self.secret}":
            await exchange.fail(401, "wrong_secret", "send the shared secret")
        elif path in {"/healthz", "/readyz"}:
            await exchange.reply({"status": "ready", "checkpoints": sorted(self.loaded)})
        elif path == "/v1/status":
            await exchange.reply(self.status())
        elif path == "/v1/models":
            await exchange.reply(
                {"object": "list", "data": [{"id": n} for n in sorted(self.loaded)]}
            )
        else:
            await self._post(path, exchange)

    def status(self) -> dict[str, Any]:
        """Numbers for the console."""
        held = [{"name": name, "hash": name, "kind": "policy"} for name in sorted(self.loaded)]
        memory = {"used_bytes": 0, "budget_bytes": self.memory_bytes}
        return {"device": "none", "memory": memory, "running": self.running, "checkpoints": held}

    async def _post(self, path: str, exchange: Exchange) -> None:
        content = await exchange.json()
        if path == "/v1/checkpoints/load":
            await self._load(content, exchange)
        elif path == "/v1/checkpoints/unload":
            self.loaded.discard(content["name"])
            await exchange.reply({"name": content["name"], "unloading": True})
        elif path in {"/v1/chat/completions", "/chat/completions"}:
            await self._chat(content, exchange)
        elif path == "/v1/scores":
            await self._scores(content, exchange)
        else:
            await exchange.fail(404, "no_such_route", f"there is no {path} here")

    async def _load(self, content: dict[str, Any], exchange: Exchange) -> None:
        self.loads.append(content)
        if self.mode == "never_loads":
            await exchange.fail(422, "checkpoint_refused", "refused: a weight is not finite")
            return
        self.loaded.add(content["name"])
        await exchange.reply({"name": content["name"], "hash": content["name"]})

    def _missing(self, *names: str | None) -> str | None:
        return next((n for n in names if n and self.needs_loading and n not in self.loaded), None)

    async def _scores(self, content: dict[str, Any], exchange: Exchange) -> None:
        self.requests.append(content)
        if missing := self._missing(content["model"]):
            await exchange.fail(
                404, "model_not_loaded", f"no checkpoint named {missing!r} is loaded"
            )
            return
        scores = [self.score_of(each[-1]["content"]) for each in content["dialogues"]]
        await exchange.reply({"object": "list", "model": content["model"], "scores": scores})

    async def _chat(self, content: dict[str, Any], exchange: Exchange) -> None:
        self.requests.append(content)
        if missing := self._missing(content["model"], content.get("ranker")):
            await exchange.fail(
                404, "model_not_loaded", f"no checkpoint named {missing!r} is loaded"
            )
            return
        mode = self.misbehaves()
        if mode == "full":
            await exchange.fail(503, "queue_full", "the queue is full", retry_after="1")
        elif mode == "refuse":
            await exchange.fail(400, "context_length_exceeded", "the prompt is too long")
        elif mode == "quote":
            await exchange.fail(400, "bad_words", f"not this: {content['messages'][-1]['content']}")
        elif mode == "diverged":
            await exchange.start("text/event-stream")
            error = {"code": "not_finite", "type": "generation_error", "message": "not a number"}
            await exchange.event({"error": error})
            await exchange.chunk(b"", more=False)
        elif mode == "hang":
            await asyncio.sleep(3600)
        elif mode == "garbage":
            await exchange.start("text/event-stream")
            await exchange.chunk(b'data: {"choices": [\xff\xfe not json\n\n')
            await exchange.chunk(b"", more=False)
        else:
            await self._answer(content, exchange, mode=mode)

    async def _answer(self, content: dict[str, Any], exchange: Exchange, *, mode: str) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if content.get("best_of", 1) > 1:
                await self._best_of(content, exchange)
            elif content.get("stream"):
                await self._stream(content, exchange, mode=mode)
            else:
                await self._whole(content, exchange)
            self.finished += 1
        except (asyncio.CancelledError, OSError):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _stream(self, content: dict[str, Any], exchange: Exchange, *, mode: str) -> None:
        gone = asyncio.create_task(exchange.gone())
        await exchange.start("text/event-stream")
        for place, word in enumerate(self.text_of(content)):
            if gone.done():
                raise OSError("the client went away")
            if mode == "crash" and place == self.crash_after:
                raise RuntimeError("crashing as told")
            if mode == "stall" and place == self.crash_after:
                await asyncio.sleep(3600)
            if place and self.pause:
                await asyncio.sleep(self.pause)
            text = word if place == 0 else f" {word}"
            await exchange.event(_chunk(text, ids=[place]))
        await exchange.event(_chunk("", finish="stop"))
        await exchange.chunk(b"data: [DONE]\n\n", more=False)
        gone.cancel()

    async def _whole(self, content: dict[str, Any], exchange: Exchange) -> None:
        choices = [
            {
                "index": sample,
                "message": {
                    "role": "assistant",
                    "content": " ".join(self.text_of(content, sample=sample)),
                },
                "finish_reason": "stop",
            }
            for sample in range(content.get("n", 1))
        ]
        await exchange.reply({"object": "chat.completion", "choices": choices})

    async def _best_of(self, content: dict[str, Any], exchange: Exchange) -> None:
        await exchange.start("text/event-stream")
        texts = [" ".join(self.text_of(content, sample=i)) for i in range(content["best_of"])]
        for done in range(1, len(texts) + 1):
            if self.pause:
                await asyncio.sleep(self.pause * self.words / len(texts))
            progress = {"state": "sampling", "done": done, "of": len(texts)}
            await exchange.event({"choices": [], "best_of": progress})
        ranked = sorted(texts, key=self.score_of, reverse=True)
        candidates = [
            {
                "text": text,
                "score": self.score_of(text),
                "finish_reason": "stop",
                "token_ids": [1, 2],
            }
            for text in ranked
        ]
        ready = {"state": "ready", "candidates": candidates}
        delta = {"role": "assistant", "content": ranked[0]}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop"}
        await exchange.event({"choices": [choice], "best_of": ready})
        await exchange.chunk(b"data: [DONE]\n\n", more=False)


def _chunk(text: str, *, finish: str | None = None, ids: list[int] | None = None) -> dict[str, Any]:
    choice = {
        "index": 0,
        "delta": {"content": text},
        "finish_reason": finish,
        "token_ids": ids or [],
    }
    return {"object": "chat.completion.chunk", "choices": [choice]}


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--uds", default=None)
    parser.add_argument("--mode", default="echo")
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--words-per-second", type=float, default=30.0)
    parser.add_argument("--secret", default="")
    chosen = parser.parse_args()
    engine = FakeEngine(
        mode=chosen.mode,
        words=chosen.words,
        words_per_second=chosen.words_per_second,
        secret=chosen.secret,
    )
    config = uvicorn.Config(
        engine, host="127.0.0.1", port=chosen.port, uds=chosen.uds, log_level="warning", ws="none"
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
