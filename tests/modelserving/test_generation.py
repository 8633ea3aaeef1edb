"""One reply of a deployment, wherever its samples and its ranking happen."""

import asyncio
import hashlib
import json

import httpx
import pytest

from modelserving import generation
from modelserving.client.endpoints import model_servers
from modelserving.core.completion import Completion, Delta
from modelserving.core.sampling import sample_seed
from modelserving.generation import GenerationFailed, answers, score, stream
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import make_checkpoint, make_deployment, make_ranked, serving

MESSAGES = [{"role": "user", "content": "Hi"}]

pytestmark = pytest.mark.django_db


def reply(deployment, *, seed=1, messages=MESSAGES, **more):
    *deltas, completion = stream(deployment, messages, seed=seed, user="u", **more)
    assert all(isinstance(each, Delta) for each in deltas)
    assert isinstance(completion, Completion)
    return "".join(each.text for each in deltas), completion


def test_stream_gives_pieces_and_then_the_whole_with_its_circumstances(settings):
    engine, deployment = FakeEngine(), make_deployment()

    with serving(settings, engine):
        streamed, completion = reply(deployment)

    text = " ".join(engine.text_of({"messages": MESSAGES, "seed": 1, "max_tokens": 64}))
    assert streamed == completion.text == text
    assert completion.token_ids == tuple(range(13))
    assert (completion.finish_reason, completion.seed, completion.score) == ("stop", 1, None)
    assert completion.sampling == {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64}
    prompt = json.dumps(MESSAGES, separators=(",", ":")).encode()
    assert completion.prompt_sha256 == hashlib.sha256(prompt).hexdigest()
    assert 0 <= completion.first_token_milliseconds <= completion.total_milliseconds


def test_stream_asks_for_exactly_what_the_deployment_says(settings):
    engine = FakeEngine()
    deployment = make_deployment(temperature=0.7, top_p=0.9)

    with serving(settings, engine):
        reply(deployment, seed=2**70 + 5)

    assert engine.requests[-1] == {
        "messages": MESSAGES, "model": deployment.checkpoint.hash, "temperature": 0.7,
        "top_p": 0.9, "max_tokens": 64, "seed": 5, "user": "u", "stream": True,
        "return_token_ids": True,
    }  # fmt: skip


def test_stream_ends_when_it_is_stopped(settings):
    engine, seen = FakeEngine(words=400, words_per_second=200), []

    def is_stopped():
        seen.append(1)
        return len(seen) > 3

    with serving(settings, engine):
        streamed, completion = reply(make_deployment(), is_stopped=is_stopped)

    assert completion.finish_reason == "stopped"
    assert streamed == completion.text
    assert 0 < len(completion.text.split()) < 10


def test_best_of_is_one_request_and_keeps_every_candidate(settings):
    engine, deployment = FakeEngine(), make_ranked(k=4)

    with serving(settings, engine):
        streamed, completion = reply(deployment)

    texts = [
        " ".join(engine.text_of({"messages": MESSAGES, "seed": 1, "max_tokens": 64}, sample=i))
        for i in range(4)
    ]
    assert streamed == ""
    assert {each["text"] for each in completion.candidates} == set(texts)
    assert completion.score == max(engine.score_of(text) for text in texts)
    assert completion.text == completion.candidates[0]["text"]
    assert completion.sampling["best_of"] == 4
    assert {each["name"] for each in engine.loads} == {
        deployment.checkpoint.hash, deployment.ranker.hash
    }  # fmt: skip
    assert [r["best_of"] for r in engine.requests if "best_of" in r][-1] == 4


def test_an_outside_endpoint_gets_standard_fields_and_its_key(settings, monkeypatch):
    monkeypatch.setenv("ENDPOINT_SECRET_TEST", "outside key")
    outside = FakeEngine(needs_loading=False, secret="outside key")

    with serving(settings, outside) as urls:
        deployment = make_deployment(
            "outside", endpoint_url=f"{urls[0]}/v1", endpoint_model="their-model",
            endpoint_secret_env="ENDPOINT_SECRET_TEST",
        )  # fmt: skip
        _, completion = reply(deployment)

    assert completion.text.startswith("Hi:")
    assert set(outside.requests[-1]) == {
        "messages", "temperature", "top_p", "max_tokens", "seed", "user", "model", "stream",
    }  # fmt: skip
    assert outside.requests[-1]["model"] == "their-model"


def test_best_of_an_outside_endpoint_is_ranked_by_our_server(settings):
    ours, outside = FakeEngine(), FakeEngine(needs_loading=False)

    with serving(settings, ours, outside) as urls:
        settings.MODELSERVER_URLS = urls[:1]
        deployment = make_ranked("outside", endpoint_url=f"{urls[1]}/v1", endpoint_model="m")
        _, completion = reply(deployment)

    assert outside.requests[-1]["n"] == 4
    assert len(ours.requests[-1]["dialogues"]) == 4
    scores = [each["score"] for each in completion.candidates]
    assert scores == sorted(scores, reverse=True)
    assert completion.score == scores[0]


@pytest.mark.parametrize(("mode", "is_retryable"), [("crash", True), ("refuse", False)])
def test_failures_say_whether_asking_again_may_help(settings, mode, is_retryable):
    engine = FakeEngine(mode=mode, needs_loading=False)

    with serving(settings, engine), pytest.raises(GenerationFailed) as raised:
        reply(make_deployment())

    assert raised.value.is_retryable is is_retryable


def test_scores_may_take_longer_than_the_first_word_of_a_reply(settings):
    class Slow(FakeEngine):
        async def _scores(self, content, exchange):
            await asyncio.sleep(0.6)
            await super()._scores(content, exchange)

    engine, pm = Slow(needs_loading=False), make_checkpoint("pm", kind="preference_model")

    with serving(settings, engine):
        model_servers()[0].http.timeout = httpx.Timeout(0.3)
        scores = score(pm, [[*MESSAGES, {"role": "assistant", "content": "x"}]])

    assert scores == [engine.score_of("x")]
    assert len(engine.requests) == 1


def test_score_goes_in_parcels_and_keeps_the_order(settings):
    engine, pm = FakeEngine(), make_checkpoint("pm", kind="preference_model")
    texts = [f"reply {number}" for number in range(generation.SCORES_AT_ONCE + 3)]
    dialogues = [[*MESSAGES, {"role": "assistant", "content": text}] for text in texts]

    with serving(settings, engine):
        scores = score(pm, dialogues)

    assert scores == [engine.score_of(text) for text in texts]


def test_answers_is_a_gate(settings):
    with serving(settings, FakeEngine()):
        assert answers(make_deployment("good")).standing == "met"
    with serving(settings, FakeEngine(mode="refuse", needs_loading=False)):
        condition = answers(make_deployment("bad"))
    assert (condition.standing, condition.says) == ("not_met", "the prompt is too long")


class Terse(FakeEngine):
    """Has nothing to say to some seeds."""

    silent = {1}

    def text_of(self, request, *, sample=0):
        return [] if request["seed"] in self.silent else super().text_of(request, sample=sample)


def test_a_policy_that_is_silent_at_one_seed_answers(settings):
    with serving(settings, Terse()):
        assert answers(make_deployment("terse")).standing == "met"


def test_a_policy_that_is_always_silent_does_not_answer(settings):
    engine = Terse()
    engine.silent = set(generation.GATE_SEEDS)

    with serving(settings, engine):
        condition = answers(make_deployment("mute"))

    assert (condition.standing, condition.says) == (
        "not_met",
        "its replies to 4 seeds are empty",
    )


def test_text_that_no_database_could_hold_is_cleaned_on_the_way(settings):
    hostile = [{"role": "user", "content": "a\x00b\ud800c"}]

    with serving(settings, FakeEngine()) as _:
        streamed, completion = reply(make_deployment(), messages=hostile)

    assert streamed.startswith("abc:")
    assert completion.text.encode("utf-8")


def test_sample_seeds_differ_between_samples():
    assert len({sample_seed(seed=1, index=index) for index in range(16)}) == 16
