"""Crowdworkers at work on second opinions: sign in, take an item, choose, take the next.

Knows pages and forms as the page's script does; knows nothing of the server behind them.
"""

import json
import random
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from labelapp.bench.history import History
from labelapp.bench.wire import Answer, Browser, NoAnswer

SUBMIT = "submit"
NEXT_ITEM = "next_item"
CHOICE = re.compile(r'action="/opinions/([0-9a-f-]{36})/choice"')
HIDDEN = re.compile(r'name="(sha256_a|sha256_b|choice_key)" value="([^"]*)"')
RELOAD_EVERY = (
    10  # choices; each answer brings the next item, and now and then a page is loaded anew
)


class Unexpected(RuntimeError):
    """An answer that no person should get."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """What is on the screen: the showing and the hidden fields of its strip."""

    public_id: str
    fields: dict[str, str]


@dataclass(kw_only=True)
class Timings:
    """Seconds of every answer, by what was asked; and how many were refused."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: int = 0

    def note(self, name: str, began: float) -> None:
        """One more answer of this kind."""
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)


async def sign_in(browser: Browser, *, name: str, password: str) -> None:
    """Through the form; the cookies are kept."""
    await browser.get("/sign-in/")
    answer = await browser.post("/sign-in/", {"username": name, "password": password})
    if "sessionid" not in browser.cookies:
        raise Unexpected(f"{name} could not sign in: {answer.status} {answer.body[:300]!r}")


@dataclass(kw_only=True)
class Reader:
    """One person who gives second opinions without thinking."""

    name: str
    browser: Browser
    history: History
    timings: Timings
    rng: random.Random
    reload_every: int = RELOAD_EVERY

    async def work(self, *, until: Callable[[], bool]) -> None:
        """Choose and choose again until told to stop or nothing waits."""
        item = await self.load()
        done = 0
        while item is not None and not until():
            item = await self.choose(item)
            done += 1
            if self.reload_every and done % self.reload_every == 0:
                item = await self.load()

    async def load(self) -> Item | None:
        """The page as it is opened or loaded again: the item the person holds, or the next."""
        began = time.perf_counter()
        answer = good(await self.browser.get("/opinions/"))
        self.timings.note(NEXT_ITEM, began)
        return self._given(answer.body.decode())

    async def choose(self, item: Item) -> Item | None:
        """Send the choice; the answer brings the next item."""
        key = item.fields["choice_key"]
        sent = {**item.fields, "point": self.rng.randint(1, 8), "active_milliseconds": 1}
        self.history.note("invoke", person=self.name, key=key)
        began = time.perf_counter()
        try:
            path = f"/opinions/{item.public_id}/choice"
            answer = await self.browser.post(path, sent, is_script=True)
        except NoAnswer:
            return await self.load()
        self.timings.note(SUBMIT, began)
        if answer.status == 409:
            self.timings.refused += 1
            self.history.note("fail", person=self.name, key=key)
        else:
            good(answer)
            self.history.note("ok", person=self.name, key=key)
        return self._given(json.loads(answer.body)["stage"])

    def _given(self, html: str) -> Item | None:
        found = CHOICE.search(html)
        if found is None:
            return None
        self.history.note("given", person=self.name, key=found[1])
        fields = dict(HIDDEN.findall(html))
        fields["choice_key"] = str(uuid.UUID(fields["choice_key"]))
        return Item(public_id=found[1], fields=fields)


def good(answer: Answer) -> Answer:
    """The answer, when it is what a person should get."""
    if answer.status != 200:
        raise Unexpected(f"{answer.status} {answer.location} {answer.body[:500]!r}")
    return answer
