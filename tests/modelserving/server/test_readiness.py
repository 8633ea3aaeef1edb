"""What `/readyz` says after something failed: a server that can draw or rank is ready, whatever failed before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.modelserving.server.in_process import Here, serving_here

HELLO = [{"role": "user", "content": "Hello there, how are you?"}]
DIALOGUE = [*HELLO, {"role": "assistant", "content": "Well, thank you."}]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Here]:
    with serving_here(tmp_path) as running:
        yield running


def _asked(served: Here, **more: Any) -> int:
    asked = {"model": "policy", "prompt": "Hello", "max_tokens": 1, **more}
    return served.post("/v1/completions", asked).status_code


def _ready(served: Here) -> tuple[int, str]:
    with served.client() as client:
        answer = client.get("/readyz")
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def _fail(served: Here, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """One turn of the checkpoint fails; the next ones do not."""
    checkpoint = served.engine.checkpoints[name]
    with monkeypatch.context() as patched:
        if checkpoint.scorer is not None:
            patched.setattr(checkpoint.scorer, "score_row", None)
        if checkpoint.sampler is not None:
            patched.setattr(checkpoint.sampler, "step", None)
        path = "/v1/scores" if checkpoint.sampler is None else "/v1/completions"
        asked = {"model": name, "dialogues": [DIALOGUE], "prompt": "Hello", "max_tokens": 1}
        assert served.post(path, asked).status_code == 500


def test_one_checkpoint_that_fails_does_not_speak_for_the_others(
    served: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail(served, monkeypatch, "policy")

    assert _ready(served) == (200, "")
    with served.client() as client:
        status = client.get("/v1/status").json()
    assert "engine failed" in status["last_failure"]


def test_a_server_that_only_ranks_is_ready_after_a_score(
    served: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.post("/v1/checkpoints/unload", {"name": "policy"})
    _fail(served, monkeypatch, "ranker")

    served.post("/v1/scores", {"model": "ranker", "dialogues": [DIALOGUE]})

    assert served.engine.last_failure is None


def test_a_prompt_that_is_read_speaks_for_its_checkpoint(
    served: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail(served, monkeypatch, "policy")

    assert _asked(served, max_tokens=0, echo=True, logprobs=1) == 200

    assert served.engine.last_failure is None


def test_a_server_whose_every_checkpoint_fails_is_ready_once_one_computes_again(
    served: Here,
) -> None:
    served.post("/v1/checkpoints/unload", {"name": "ranker"})
    sampler = served.engine.checkpoints["policy"].sampler
    assert sampler is not None
    step, sampler.step = sampler.step, None  # type: ignore[method-assign]
    assert _asked(served) == 500

    assert _ready(served) == (503, "engine_failing")
    sampler.step = step  # type: ignore[method-assign]
    assert _ready(served) == (200, "")  # without any request
    assert _asked(served) == 200
