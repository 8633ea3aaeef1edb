"""The Django side against the real model server: what the fake engine plays must be true."""

from collections.abc import Iterator

import pytest

from modelserving.client import endpoints
from modelserving.client.statuses import server_statuses, unload
from modelserving.core.completion import Completion, Delta
from modelserving.deployments import create_deployment
from modelserving.generation import GenerationFailed, answers, score, stream
from modelserving.models import Checkpoint, Deployment
from modelserving.registry import directory_of, register_checkpoint
from tests.modelserving.server.conftest import SECRET, Served
from tests.tiny_checkpoints import make_tiny_language_model

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
MESSAGES = [{"role": "user", "content": "Tell me a story about a dog."}]


@pytest.fixture(autouse=True)
def ours(settings, served: Served) -> Iterator[None]:
    """The server's root is the artefact store."""
    settings.ARTEFACTS = served.root
    settings.MODELSERVER_URLS = [served.url]
    settings.MODELSERVER_SECRET = SECRET
    yield
    for endpoint in endpoints._known.values():
        endpoint.http.close()
    endpoints._known.clear()


def registered(served: Served, name: str) -> Checkpoint:
    return register_checkpoint(served.root / name, name=name, origin="trained")


def deployed(served: Served, **values) -> Deployment:
    policy = registered(served, "policy")
    return create_deployment(name="policy", checkpoint=policy, max_new_tokens=24, **values)


def reply(deployment, *, seed=5, **more):
    *deltas, completion = stream(deployment, MESSAGES, seed=seed, user="u", **more)
    assert all(isinstance(each, Delta) for each in deltas)
    assert isinstance(completion, Completion)
    return "".join(each.text for each in deltas), completion


def test_a_streamed_reply_is_whole_and_the_same_for_the_same_seed(served):
    deployment = deployed(served)

    streamed, completion = reply(deployment)
    _, again = reply(deployment)

    assert streamed == completion.text == again.text
    assert completion.token_ids == again.token_ids
    assert 0 < len(completion.token_ids) <= 24
    assert completion.finish_reason in {"stop", "length"}
    assert completion.first_token_milliseconds <= completion.total_milliseconds


def test_a_checkpoint_that_was_unloaded_is_loaded_again_by_asking(served):
    deployment = deployed(served)
    before, _ = reply(deployment)
    unload(served.url, name=deployment.checkpoint.hash)

    after, _ = reply(deployment)

    assert after == before
    loaded = {each["name"] for each in server_statuses()[0].checkpoints}
    assert deployment.checkpoint.hash in loaded


def test_best_of_returns_every_candidate_ranked_by_the_scores_it_would_get(served):
    ranker = registered(served, "ranker")
    deployment = deployed(served, ranker=ranker, best_of=4)

    streamed, completion = reply(deployment)

    scores = [each["score"] for each in completion.candidates]
    dialogues = [
        [*MESSAGES, {"role": "assistant", "content": each["text"]}]
        for each in completion.candidates
    ]
    assert streamed == ""
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert (completion.score, completion.text) == (scores[0], completion.candidates[0]["text"])
    assert score(ranker, dialogues) == pytest.approx(scores, abs=1e-4)


def test_stopping_frees_the_server_and_keeps_what_came(served):
    seen: list[int] = []

    def is_stopped():
        seen.append(1)
        return len(seen) > 2

    _, completion = reply(deployed(served), is_stopped=is_stopped)

    assert completion.finish_reason in {"stopped", "stop"}
    assert len(completion.token_ids) < 24


def test_a_spoilt_checkpoint_does_not_answer_and_says_why(served):
    make_tiny_language_model(served.root / "spoilt", seed=9)
    checkpoint = registered(served, "spoilt")
    weights = directory_of(checkpoint) / "model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    deployment = create_deployment(name="spoilt", checkpoint=checkpoint)

    condition = answers(deployment)

    assert condition.standing == "not_met"
    assert "sha256" in condition.says


def test_a_policy_cannot_score(served):
    with pytest.raises(GenerationFailed, match="not a preference model") as raised:
        score(registered(served, "policy"), [[*MESSAGES, {"role": "assistant", "content": "x"}]])

    assert not raised.value.is_retryable
