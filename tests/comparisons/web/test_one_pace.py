"""The event stream of a turn whose sides come at unlike paces: nothing in it says which one was slow."""

import asyncio
import json
import re
import threading
import time
from dataclasses import dataclass

import pytest
from django.test import AsyncClient, Client
from django.urls import reverse

from comparisons.models import Response
from comparisons.services import generating
from comparisons.services.streaming import TurnStream
from tests.comparisons.making import make_conversation
from tests.comparisons.turns import make_turn, sides
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import make_deployment, serving

pytestmark = pytest.mark.django_db(transaction=True)

EVENT = re.compile(r"event: (\w+)\ndata: (.*)\n")


@pytest.fixture(autouse=True)
def fresh_streams(monkeypatch):
    monkeypatch.setattr(TurnStream, "_away_until", 0.0)


@dataclass(frozen=True)
class Heard:
    at: float
    kind: str
    side: str
    text: str


def listen(turn) -> list[Heard]:
    """What a browser of the turn's writer is sent, and when."""

    async def collect():
        client, found, begun = AsyncClient(), [], time.monotonic()
        await client.aforce_login(turn.conversation.crowdworker.account)
        answer = await client.get(reverse("turn_events", args=[turn.public_id]))
        async for chunk in answer.streaming_content:
            for kind, data in EVENT.findall(chunk.decode()):
                said = json.loads(data)
                at = time.monotonic() - begun
                found.append(Heard(at, kind, said.get("side", ""), said.get("text", "")))
        return found

    return asyncio.run(asyncio.wait_for(collect(), 60))


def outside(name, url):
    return make_deployment(name, endpoint_url=f"{url}/v1", endpoint_model=name)


def engine(*, words_per_second: float, words: int = 24) -> FakeEngine:
    return FakeEngine(needs_loading=False, words_per_second=words_per_second, words=words)


def filled(turn, meanwhile):
    """Fill the turn and give what `meanwhile` finds while it is written."""
    filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
    filling.start()
    found = meanwhile()
    filling.join()
    return found


def deltas(heard, side) -> list[Heard]:
    return [each for each in heard if (each.kind, each.side) == ("delta", side)]


def amounts(events, *, until: int) -> list[int]:
    """Characters of each event before `until` of them were sent."""
    found: list[int] = []
    for event in events:
        if sum(found) + len(event.text) > until:
            break
        found.append(len(event.text))
    return found


@pytest.mark.parametrize("slow", ["A", "B"])
def test_events_of_a_slow_and_a_fast_endpoint_cannot_be_told_apart(settings, redis_url, slow):
    late, quick = engine(words_per_second=10), engine(words_per_second=200)
    order = (late, quick) if slow == "A" else (quick, late)

    with serving(settings, *order) as urls:
        turn = make_turn(deployments=(outside("one", urls[0]), outside("two", urls[1])))
        heard = filled(turn, lambda: listen(turn))

    a, b = deltas(heard, "A"), deltas(heard, "B")
    shorter = min(len(response.text) for response in sides(turn).values())
    assert amounts(a, until=shorter - 1) == amounts(b, until=shorter - 1)
    common = len(amounts(a, until=shorter - 1))
    assert common > 10
    assert (
        max(abs(one.at - other.at) for one, other in zip(a[:common], b[:common], strict=True))
        < 0.05
    )
    texts = {side: "".join(each.text for each in deltas(heard, side)) for side in "AB"}
    assert texts == {side: response.text for side, response in sides(turn).items()}
    for side, events in (("A", a), ("B", b)):
        done = next(each for each in heard if (each.kind, each.side) == ("done", side))
        assert done.at >= events[-1].at


def test_a_page_that_is_opened_meanwhile_holds_nothing_of_a_side_that_is_whole(settings, redis_url):
    conversation = make_conversation()
    client = Client()
    client.force_login(conversation.crowdworker.account)
    seen = {}

    def look():
        time.sleep(1.2)  # the fast side is whole by now
        at = reverse("conversation", args=[conversation.public_id])
        seen["page"] = client.get(at).content.decode()
        seen["states"] = set(Response.objects.values_list("state", "text"))
        return listen(turn)

    with serving(settings, engine(words_per_second=200), engine(words_per_second=8)) as urls:
        deployments = (outside("one", urls[0]), outside("two", urls[1]))
        turn = make_turn(conversation=conversation, deployments=deployments, message="Go on")
        heard = filled(turn, look)

    assert seen["states"] == {("pending", "")}
    assert "Go on:" not in seen["page"]
    first = {side: deltas(heard, side)[0].text for side in "AB"}
    assert len(first["A"]) == len(first["B"])
    assert amounts(deltas(heard, "A"), until=60) == amounts(deltas(heard, "B"), until=60)
