"""Answers with the text of every token: built beside the event loop, each token's text made once."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.modelserving.server.in_process import Here, serving_here

PROMPTS = [[5 + (7 * place + row) % 80 for place in range(60)] for row in range(8)]
ASKED = {"model": "policy", "prompt": PROMPTS, "max_tokens": 0, "echo": True, "logprobs": 5}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Here]:
    with serving_here(tmp_path) as running:
        yield running


def _decoded(
    served: Here, monkeypatch: pytest.MonkeyPatch, *, seconds: float
) -> Counter[tuple[int, ...]]:
    """What the tokenizer decodes from now on, and how often; each time takes so long."""
    tokenizer = served.engine.checkpoints["policy"].loaded.tokenizer
    decode, counted = tokenizer.decode, Counter[tuple[int, ...]]()

    def slowly(token_ids: Sequence[int]) -> str:
        counted[tuple(token_ids)] += 1
        time.sleep(seconds)
        return decode(list(token_ids))

    monkeypatch.setattr(tokenizer, "decode", slowly)
    return counted


def test_the_text_of_a_token_is_made_once(served: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    before = served.post("/v1/completions", ASKED).json()["choices"]
    served.engine.checkpoints["policy"].texts.clear()
    counted = _decoded(served, monkeypatch, seconds=0)

    answers = [served.post("/v1/completions", ASKED).json()["choices"] for _ in range(2)]

    assert answers == [before, before]
    singles = [times for ids, times in counted.items() if len(ids) == 1]
    assert len(singles) > 80
    assert set(singles) == {1}


@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "stream"])
def test_others_are_answered_while_a_long_answer_is_built(
    served: Here, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    _decoded(served, monkeypatch, seconds=0.04)  # 80 tokens at least: 3.2 s
    asking = threading.Thread(target=served.post, args=("/v1/completions", {**ASKED, **more}))
    asking.start()
    longest = 0.0

    with served.client() as client:
        while asking.is_alive():
            begun = time.monotonic()
            client.get("/healthz")
            longest = max(longest, time.monotonic() - begun)
            time.sleep(0.01)

    assert longest < 1.5
