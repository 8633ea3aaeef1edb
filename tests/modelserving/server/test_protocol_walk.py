"""The protocol, against the real process and with the official client."""

import concurrent.futures
import json
import random
from typing import Any

import httpx
import openai
import pytest

from modelserving.lm.loading import load_language_model, load_preference_model
from modelserving.lm.preference_model import score_dialogues
from tests.modelserving.server.conftest import Served

pytestmark = pytest.mark.walk

HELLO = [{"role": "user", "content": "Hello there, how are you?"}]
DIALOGUE = [*HELLO, {"role": "assistant", "content": "Well, thank you."}]


def test_the_official_client_gets_the_same_text_whole_and_streamed(served: Served) -> None:
    client = served.openai()
    settings: dict[str, Any] = {
        "model": served.policy,
        "messages": HELLO,
        "max_tokens": 40,
        "seed": 11,
    }

    whole = client.chat.completions.create(**settings, n=2)
    stream = client.chat.completions.create(
        **settings, n=2, stream=True, stream_options={"include_usage": True}
    )

    texts, finishes, usage = ["", ""], [None, None], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert finishes == [choice.finish_reason for choice in whole.choices]
    assert texts[0] != texts[1]
    assert usage is not None
    assert whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_models_lists_what_is_loaded_by_hash(served: Served) -> None:
    found = {model.id for model in served.openai().models.list()}

    assert {served.policy, served.ranker} <= found


def test_completions_stream_and_stop_before_the_stop_text(served: Served) -> None:
    client = served.openai()
    settings: dict[str, Any] = {
        "model": served.policy,
        "prompt": "Hello",
        "max_tokens": 60,
        "seed": 4,
    }
    full = client.completions.create(**settings).choices[0].text
    stop = full[10:13]

    stopped = client.completions.create(**settings, stop=[stop])
    pieces = [c.choices[0] for c in client.completions.create(**settings, stop=[stop], stream=True)]

    assert stopped.choices[0].text == full[: full.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"
    assert "".join(piece.text for piece in pieces) == stopped.choices[0].text
    assert pieces[-1].finish_reason == "stop"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("replies", [48, pytest.param(10_000, marks=pytest.mark.release)])
def test_same_seed_same_text_whatever_else_runs(served: Served, replies: int) -> None:
    """Twenty requests alone, then many at once in a changing mixture: bit for bit the same."""

    def ask(seed: int) -> str:
        content = {
            "model": served.policy, "messages": HELLO, "max_tokens": 4 + 9 * (seed % 7),
            "seed": seed, "n": 1 + seed % 3, "temperature": 0.5 + seed % 4 / 4,
            "top_p": 1.0 if seed % 2 else 0.9, "logprobs": True,
        }  # fmt: skip
        answer = client.post("/v1/chat/completions", json=content)
        assert answer.status_code == 200, answer.text
        return json.dumps(answer.json()["choices"])

    rng = random.Random(replies)
    with served.client() as client, concurrent.futures.ThreadPoolExecutor(12) as pool:
        alone = [ask(seed) for seed in range(20)]
        seeds = [rng.randrange(20) for _ in range(replies)]
        different = [
            s for s, text in zip(seeds, pool.map(ask, seeds), strict=True) if text != alone[s]
        ]

    assert different == []


def test_echo_gives_the_logprobs_of_the_prompt_as_lm_eval_reads_them(served: Served) -> None:
    loaded = load_language_model(served.root / "policy")
    ids = loaded.tokenizer.encode("Tell me a story about a dog")
    content = {
        "model": served.policy, "prompt": [ids, ids[:4]], "max_tokens": 1, "logprobs": 1,
        "echo": True, "temperature": 0, "seed": 1,
    }  # fmt: skip

    choices = served.post("/v1/completions", content).json()["choices"]

    logits = loaded.model(input_ids=_tensor(ids)).logits[0].log_softmax(-1)
    expected = logits[:-1].gather(1, _tensor(ids)[0, 1:, None])[:, 0].tolist()
    first = choices[0]["logprobs"]
    assert first["token_logprobs"][0] is None
    assert first["token_logprobs"][1:-1] == pytest.approx(expected, abs=1e-4)
    assert len(first["tokens"]) == len(ids) + 1
    best = [max(top.values()) for top in first["top_logprobs"][1:]]
    assert best == pytest.approx(logits.max(-1).values.tolist(), abs=1e-4)
    assert choices[1]["index"] == 1
    assert len(choices[1]["logprobs"]["tokens"]) == 5


def _tensor(ids: list[int]) -> Any:
    import torch

    return torch.tensor([ids])


def test_chat_logprobs_name_each_visible_token(served: Served) -> None:
    answer = served.openai().chat.completions.create(
        model=served.policy, messages=HELLO, max_tokens=8, seed=2, logprobs=True, top_logprobs=3
    )

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert 1 <= len(logprobs.content) <= 8
    assert all(len(token.top_logprobs) == 3 for token in logprobs.content)


def test_scores_are_those_of_one_plain_forward_each(served: Served) -> None:
    dialogues = [DIALOGUE, [*HELLO, {"role": "assistant", "content": "Grüße 🙂"}], DIALOGUE[:2]]
    ranker = load_preference_model(served.root / "ranker")

    scores = served.post("/v1/scores", {"model": served.ranker, "dialogues": dialogues}).json()[
        "scores"
    ]

    alone = [float(score_dialogues(ranker, [dialogue])[0]) for dialogue in dialogues]
    assert scores == pytest.approx(alone, abs=1e-5)


def test_best_of_returns_the_candidate_the_ranker_scores_highest(served: Served) -> None:
    content = {
        "model": served.policy, "messages": HELLO, "max_tokens": 20, "seed": 9, "best_of": 6,
        "ranker": served.ranker, "return_all": True, "return_token_ids": True,
    }  # fmt: skip

    answer = served.post("/v1/chat/completions", content).json()

    candidates = answer["best_of"]["candidates"]
    dialogues = [[*HELLO, {"role": "assistant", "content": c["text"]}] for c in candidates]
    scores = served.post("/v1/scores", {"model": served.ranker, "dialogues": dialogues}).json()[
        "scores"
    ]
    assert [c["score"] for c in candidates] == pytest.approx(scores, abs=1e-5)
    assert scores == sorted(scores, reverse=True)
    assert {c["sample"] for c in candidates} == set(range(6))
    assert answer["choices"][0]["message"]["content"] == candidates[0]["text"]
    assert answer["choices"][0]["score"] == candidates[0]["score"]
    assert answer["choices"][0]["token_ids"] == candidates[0]["token_ids"]


def test_a_best_of_stream_says_when_the_result_is_ready(served: Served) -> None:
    extra = {"best_of": 4, "ranker": served.ranker}
    stream = served.openai().chat.completions.create(
        model=served.policy, messages=HELLO, max_tokens=10, seed=9, stream=True, extra_body=extra
    )

    chunks = [chunk.model_dump() for chunk in stream]

    states = [chunk["best_of"]["state"] for chunk in chunks if "best_of" in chunk]
    assert states == ["sampling"] * 4 + ["ranking", "ready"]
    texts = [chunk for chunk in chunks if chunk["choices"]]
    assert len(texts) == 1
    assert texts[0]["choices"][0]["finish_reason"] in ("stop", "length")


def test_prompt_tokens_of_the_last_turn_are_reused(served: Served) -> None:
    first = [{"role": "user", "content": "Once upon a time there was a dog. " * 8}]
    more = [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And a cat?"}]
    settings = {"model": served.policy, "max_tokens": 4, "seed": 1}

    served.post("/v1/chat/completions", {**settings, "messages": first})
    answer = served.post("/v1/chat/completions", {**settings, "messages": [*first, *more]}).json()

    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] >= 64


@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        ("/v1/chat/completions", {"model": "none", "messages": HELLO}, 404, "model_not_loaded"),
        ("/v1/chat/completions", {"messages": HELLO}, 400, "invalid_value"),
        ("/v1/chat/completions", {"model": "POLICY", "messages": []}, 400, "invalid_value"),
        ("/v1/chat/completions", {"model": "POLICY", "messages": DIALOGUE}, 400, "invalid_dialogue"),
        ("/v1/chat/completions", {"model": "RANKER", "messages": HELLO}, 400, "wrong_checkpoint_kind"),
        ("/v1/chat/completions", {"model": "POLICY", "messages": HELLO, "n": 0}, 400, "invalid_value"),
        ("/v1/chat/completions", {"model": "POLICY", "messages": HELLO, "temperature": -1}, 400, "invalid_value"),
        ("/v1/chat/completions", {"model": "POLICY", "messages": HELLO, "stop": [1]}, 400, "invalid_value"),
        ("/v1/chat/completions", {"model": "POLICY", "messages": HELLO, "best_of": 4, "ranker": "none"}, 404, "model_not_loaded"),
        ("/v1/completions", {"model": "POLICY", "prompt": ""}, 400, "invalid_value"),
        ("/v1/completions", {"model": "POLICY", "prompt": ["a"] * 256, "n": 17}, 400, "invalid_value"),
        ("/v1/completions", {"model": "POLICY", "prompt": [10**9]}, 400, "invalid_value"),
        ("/v1/completions", {"model": "POLICY", "prompt": "word " * 2000}, 400, "context_length_exceeded"),
        ("/v1/scores", {"model": "POLICY", "dialogues": [DIALOGUE]}, 400, "wrong_checkpoint_kind"),
        ("/v1/scores", {"model": "RANKER", "dialogues": [HELLO]}, 400, "invalid_dialogue"),
        ("/v1/scores", {"model": "RANKER", "dialogues": []}, 400, "invalid_value"),
        ("/v1/nothing", {}, 404, "no_such_route"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_in_the_apis_error_shape(
    served: Served, path: str, content: dict[str, Any], status: int, code: str
) -> None:
    names = {"POLICY": served.policy, "RANKER": served.ranker}
    sent = {k: names.get(v, v) if isinstance(v, str) else v for k, v in content.items()}

    answer = served.post(path, sent)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_broken_bodies_and_wrong_secrets_are_refused(served: Served) -> None:
    with served.client() as client:
        for body in (b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000):
            answer = client.post("/v1/chat/completions", content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
        half = b'{"model": "%s", "prompt": "a\\ud800b"}' % served.policy.encode()
        answer = client.post("/v1/completions", content=half)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
    with served.client(secret="wrong") as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/healthz").status_code == 200
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0).models.list()


def test_a_prompt_of_ten_megabytes_is_refused_and_serving_goes_on(served: Served) -> None:
    huge = [{"role": "user", "content": "a" * 10_000_000}]

    with served.client() as client:
        try:
            status = client.post(
                "/v1/chat/completions", json={"model": served.policy, "messages": huge}
            ).status_code
        except httpx.WriteError:  # the server answered and hung up before all was sent
            status = 413
        assert status == 413
        assert client.get("/readyz").status_code == 200


def test_a_long_dialogue_loses_its_oldest_turns_and_says_so(served: Served) -> None:
    turns = [
        {"role": ("user", "assistant")[i % 2], "content": "Tell me a story. " * 4}
        for i in range(21)
    ]

    answer = served.post(
        "/v1/chat/completions", {"model": served.policy, "messages": turns, "max_tokens": 4}
    ).json()

    assert answer["dropped_messages"] > 0
    assert answer["usage"]["prompt_tokens"] <= 256


def test_status_and_metrics_tell_what_happened(served: Served) -> None:
    served.post(
        "/v1/chat/completions", {"model": served.policy, "messages": HELLO, "max_tokens": 3}
    )

    with served.client() as client:
        status = client.get("/v1/status").json()
        text = client.get("/metrics").text

    kinds = {each["name"]: each["kind"] for each in status["checkpoints"]}
    assert kinds[served.policy] == "language_model"
    assert kinds[served.ranker] == "preference_model"
    assert status["counts"]["tokens_generated"] >= 3
    assert status["timings"]["ttft_p95_s"] > 0
    assert "modelserver_tokens_generated_total" in text
    assert all(line.startswith("#") or len(line.split(" ")) == 2 for line in text.splitlines())
