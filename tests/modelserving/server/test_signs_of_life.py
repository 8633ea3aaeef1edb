"""Streams say that they live while there is nothing to send, to every client's liking."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from modelserving.lm.sampler import Sampler
from modelserving.server import replying
from modelserving.server.engine import Engine
from tests.modelserving.server.in_process import Here, serving_here

HELLO = [{"role": "user", "content": "Hello there, how are you?"}]


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A server of which every token takes 0.3 s and that tells of its life each 0.1 s."""
    step = Sampler.step

    def slowly(sampler: Sampler) -> Any:
        time.sleep(0.3)
        return step(sampler)

    monkeypatch.setattr(replying, "LIFE_SECONDS", 0.1)
    with serving_here(tmp_path) as served:
        monkeypatch.setattr(Sampler, "step", slowly)
        yield served


def _asked(**more: Any) -> dict[str, Any]:
    asked = {"model": "policy", "messages": HELLO, "max_tokens": 4, "seed": 5, "stream": True}
    return {**asked, **more}


@pytest.mark.parametrize("more", [{}, {"best_of": 2, "return_all": True}], ids=["plain", "best_of"])
def test_comments_come_while_there_is_nothing_to_send(slow: Here, more: dict[str, Any]) -> None:
    lines = slow.lines("/v1/chat/completions", _asked(**more))

    told = [line for line in lines if line.startswith(":")]
    events = [line.removeprefix("data: ") for line in lines if not line.startswith(":")]
    assert lines[0].startswith(":")
    assert len(told) >= 5
    assert events[-1] == "[DONE]"
    assert all(json.loads(event)["object"] for event in events[:-1])


def test_the_official_client_reads_past_them(slow: Here) -> None:
    client = openai.OpenAI(base_url=f"{slow.url}/v1", api_key="none", max_retries=0)
    whole = client.chat.completions.create(**_asked(stream=False))

    chunks = list(client.chat.completions.create(**_asked()))

    pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content


def test_what_fails_after_a_sign_of_life_is_said_in_the_stream(slow: Here) -> None:
    asked = _asked(best_of=2, ranker="ranker")
    with (
        slow.client() as client,
        client.stream("POST", "/v1/chat/completions", json=asked) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines).startswith(":")
        slow.post("/v1/checkpoints/unload", {"name": "ranker"})
        events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    assert json.loads(events[-1])["error"]["code"] == "model_not_loaded"


def test_an_engine_that_stands_still_gives_no_sign(
    slow: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replying, "STILL_SECONDS", 0.0)
    # also before it took the request up and after its last token, which a busy machine draws out
    always = property(lambda _: True, lambda _, __: None)
    monkeypatch.setattr(Engine, "working", always, raising=False)

    lines = slow.lines("/v1/chat/completions", _asked())

    assert [line for line in lines if line.startswith(":")] == []
