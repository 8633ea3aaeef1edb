"""Crowdworkers who talk to two models: say something, read both streams, think, choose, go on.

Knows pages, forms and streams as the page's script does; knows nothing of what answers.
"""

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from labelapp.bench.history import History
from labelapp.bench.people import HIDDEN, SUBMIT, Timings, Unexpected, good, sign_in
from labelapp.bench.wire import Answer, Browser, NoAnswer

TURNS = 4  # of a conversation
PAGE = "page"
SIGN_IN = "sign_in"
MOST_TRIES = 5


@dataclass(kw_only=True)
class Writer:
    """One person in a campaign, with pauses as people make them."""

    name: str
    password: str
    campaign: str
    browser: Browser
    history: History
    timings: Timings
    rng: random.Random
    think_seconds: tuple[float, float]  # least and most, for a whole turn: reading and writing
    streamed: int = 0

    async def work(self, *, until: Callable[[], bool]) -> None:
        """Sign in, then one conversation after the other until told to stop."""
        began = time.perf_counter()
        await sign_in(self.browser, name=self.name, password=self.password)
        self.timings.note(SIGN_IN, began)
        await self._get("/")
        while not until():
            page = await self._follow(await self._post(f"/work/{self.campaign}/start", {}))
            for _ in range(TURNS):
                await self._think(share=0.5)
                if until():
                    return
                await self._turn(page)
            await self._post(f"{page}end", {"rating": 3})

    async def _turn(self, page: str) -> None:
        """Say something, read, choose."""
        text = f"Tell me something about the number {self.rng.getrandbits(40)}."
        said = await self._send(f"{page}messages", {"text": text, "message_key": uuid.uuid4()})
        turn = str(said["saved"])
        stage = await self._read(page, turn)
        await self._think(share=0.5)
        fields = dict(HIDDEN.findall(str(stage["stage"])))
        key = str(uuid.UUID(fields["choice_key"]))
        self.history.note("invoke", person=self.name, key=key)
        point = self.rng.randint(1, 8)
        await self._send(f"/turns/{turn}/choice", {**fields, "point": point}, name=SUBMIT)
        self.history.note("ok", person=self.name, key=key)

    async def _read(self, page: str, turn: str) -> Mapping[str, object]:
        """Follow the stream to its end, then fetch what the strip needs."""
        for _ in range(MOST_TRIES):
            try:
                async for line in self.browser.lines(f"/turns/{turn}/events"):
                    self.streamed += len(line)
            except NoAnswer:
                await asyncio.sleep(1)
            stage = await self._get(page, is_script=True)
            content: Mapping[str, object] = json.loads(stage.body)
            if content["dock"] == "strip":
                return content
        raise Unexpected(f"turn {turn} never became ready")

    async def _think(self, *, share: float) -> None:
        await asyncio.sleep(share * self.rng.uniform(*self.think_seconds))

    async def _get(self, path: str, *, is_script: bool = False) -> Answer:
        began = time.perf_counter()
        answer = good(await self.browser.get(path, is_script=is_script))
        self.timings.note(PAGE, began)
        return answer

    async def _post(self, path: str, fields: Mapping[str, object]) -> Answer:
        """A plain form; it answers with a redirect."""
        began = time.perf_counter()
        answer = await self.browser.post(path, fields)
        self.timings.note(PAGE, began)
        if answer.status != 302:
            raise Unexpected(f"{path}: {answer.status} {answer.body[:300]!r}")
        return answer

    async def _follow(self, answer: Answer) -> str:
        if "/conversations/" not in answer.location:
            raise Unexpected(f"{self.name} was led to {answer.location!r}")
        await self._get(answer.location)
        return answer.location

    async def _send(
        self, path: str, fields: Mapping[str, object], *, name: str = PAGE
    ) -> Mapping[str, object]:
        """As the page's outbox: again with the same key where no answer came."""
        for _ in range(MOST_TRIES):
            began = time.perf_counter()
            try:
                answer = good(await self.browser.post(path, fields, is_script=True))
            except NoAnswer:
                await asyncio.sleep(1)
                continue
            self.timings.note(name, began)
            content: Mapping[str, object] = json.loads(answer.body)
            return content
        raise Unexpected(f"{path}: no answer {MOST_TRIES} times")
