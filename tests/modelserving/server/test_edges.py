"""Requests at the edge of what is allowed: answered or refused by name, never by a failure of ours."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders

from modelserving.core.artifacts import utc_now, write_manifest
from tests.modelserving.server.in_process import Here, serving_here
from tests.tiny_checkpoints import CONTEXT_TOKENS, make_tiny_language_model

HELLO = [{"role": "user", "content": "Hello there, how are you?"}]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    with serving_here(tmp_path_factory.mktemp("checkpoints")) as running:
        yield running


@pytest.mark.parametrize("more", [{"logprobs": 2}, {"n": 2}, {"prompt": ["Hello", "Tell me"]}])
def test_an_echo_of_no_more_than_the_prompt_is_streamed_too(
    served: Here, more: dict[str, Any]
) -> None:
    asked = {"model": "policy", "prompt": "Hello there", "max_tokens": 0, "echo": True, **more}
    whole = served.post("/v1/completions", asked).json()["choices"]

    lines = served.lines("/v1/completions", {**asked, "stream": True})

    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    pieces = [choice for event in events for choice in event["choices"]]
    assert lines[-1] == "data: [DONE]"
    for choice in whole:
        own = [each for each in pieces if each["index"] == choice["index"]]
        assert "".join(each["text"] for each in own) == choice["text"] != ""
        assert [each["finish_reason"] for each in own] == [None, "length"]
        assert own[0]["logprobs"] == choice["logprobs"]


@pytest.mark.parametrize("more", [{"temperature": 1e-40}, {"temperature": 1e-7}, {"top_p": 1e-46}])
def test_settings_too_small_to_compute_with_take_the_likeliest_token(
    served: Here, more: dict[str, Any]
) -> None:
    asked = {"model": "policy", "messages": HELLO, "max_tokens": 8, "seed": 1, "logprobs": True}
    greedy = served.post("/v1/chat/completions", {**asked, "temperature": 0}).json()["choices"][0]

    answer = served.post("/v1/chat/completions", {**asked, "top_logprobs": 1, **more})

    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"] == greedy["message"]
    assert served.engine.last_failure is None


@pytest.mark.parametrize(
    ("path", "more", "status", "code"),
    [
        ("/v1/completions", {"prompt": "Hello", "ranker": "ranker"}, 400, "unsupported"),
        ("/v1/chat/completions", {"messages": HELLO, "ranker": "policy"}, 400, "wrong_checkpoint_kind"),
        ("/v1/chat/completions", {"messages": HELLO, "ranker": "none"}, 404, "model_not_loaded"),
    ],
)  # fmt: skip
def test_a_ranker_that_cannot_rank_is_refused_before_anything_is_drawn(
    served: Here, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    before = served.engine.metrics.counts["tokens_generated"]

    answer = served.post(path, {"model": "policy", "best_of": 4, "max_tokens": 4, **more})

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert served.engine.metrics.counts["tokens_generated"] == before


@pytest.mark.parametrize(
    ("path", "prompt"),
    [("/v1/completions", {"prompt": "Hello"}), ("/v1/chat/completions", {"messages": HELLO})],
)
def test_tokens_that_the_model_does_not_know_are_refused_in_texts_too(
    served: Here, monkeypatch: pytest.MonkeyPatch, path: str, prompt: dict[str, Any]
) -> None:
    config = served.engine.checkpoints["policy"].loaded.model.config
    monkeypatch.setattr(config, "vocab_size", 20)  # as in a directory with another's tokenizer

    answer = served.post(path, {"model": "policy", "max_tokens": 1, **prompt})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


def test_one_name_is_not_given_to_two_checkpoints_at_once(served: Here) -> None:
    places = [served.root / "one", served.root / "two"]
    for seed, place in enumerate(places):
        make_tiny_language_model(place, seed=seed)

    def load(place: Path) -> Any:
        return served.post("/v1/checkpoints/load", {"path": str(place), "name": "mine"})

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(load, places))

    assert sorted(answer.status_code for answer in answers) == [200, 400]
    taken = next(answer for answer in answers if answer.status_code == 400)
    assert taken.json()["error"]["code"] == "name_taken"


def test_a_completion_keeps_the_space_that_its_tokenizer_takes_from_the_start_of_a_text(
    served: Here,
) -> None:
    def completion(model: str, seed: int) -> str:
        asked = {"model": model, "prompt": "Hello", "max_tokens": 6, "seed": seed, "echo": True}
        return str(served.post("/v1/completions", asked).json()["choices"][0]["text"])

    worded = served.root / "worded"
    make_tiny_language_model(worded, seed=1)  # as `policy`
    tokenizer = Tokenizer.from_file(str(worded / "tokenizer.json"))
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    tokenizer.save(str(worded / "tokenizer.json"))
    write_manifest(worded, kind="language_model", parents=[], config={}, code="", created=utc_now())
    loaded = served.post("/v1/checkpoints/load", {"path": str(worded), "name": "worded"})
    assert loaded.status_code == 200, loaded.text
    seed = next(seed for seed in range(200) if completion("policy", seed).startswith("Hello "))

    assert completion("worded", seed) == completion("policy", seed)


def test_one_model_is_told_of_by_its_name(served: Here) -> None:
    with served.client() as client:
        found = client.get("/v1/models").json()["data"]
        one = client.get("/v1/models/policy")
        none = client.get("/v1/models/nobody/here")

    assert one.json() == next(each for each in found if each["id"] == "policy")
    assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_loaded")


@pytest.mark.parametrize("echo", [False, True])
def test_offsets_in_a_stream_go_on_from_event_to_event(served: Here, echo: bool) -> None:
    asked = {"model": "policy", "prompt": ["Hello", "Tell me"], "n": 2, "max_tokens": 9, "seed": 5,
             "logprobs": 0, "echo": echo}  # fmt: skip
    whole = served.post("/v1/completions", asked).json()["choices"]

    lines = served.lines("/v1/completions", {**asked, "stream": True})

    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    pieces = [choice for event in events for choice in event["choices"]]
    for choice in whole:
        own = [each["logprobs"] for each in pieces if each["index"] == choice["index"]]
        offsets = [offset for each in own for offset in each["text_offset"]]
        assert offsets == choice["logprobs"]["text_offset"]
        assert len(own) > 1


def test_logprobs_that_are_false_are_left_out(served: Here) -> None:
    asked = {"model": "policy", "prompt": "Hello", "max_tokens": 2, "logprobs": False}

    answer = served.post("/v1/completions", asked)

    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["logprobs"] is None


def test_a_chat_reply_may_fill_what_its_prompt_leaves_of_the_context(served: Here) -> None:
    asked = {"model": "policy", "messages": HELLO, "n": 64, "seed": 5, "return_token_ids": True}

    answer = served.post("/v1/chat/completions", {**asked, "max_tokens": 1000}).json()

    left = CONTEXT_TOKENS - answer["usage"]["prompt_tokens"]
    cut = [each for each in answer["choices"] if each["finish_reason"] == "length"]
    assert left > CONTEXT_TOKENS // 2
    assert cut
    assert {len(each["token_ids"]) for each in cut} == {left}


def test_a_dialogue_beyond_the_context_leaves_half_of_it_to_a_long_reply(served: Here) -> None:
    long = [{"role": "user", "content": "Tell me a story. " * 200}]
    asked = {"model": "policy", "messages": long, "max_tokens": 1000, "n": 4, "seed": 5}

    answer = served.post("/v1/chat/completions", asked).json()

    assert answer["usage"]["prompt_tokens"] == CONTEXT_TOKENS // 2
