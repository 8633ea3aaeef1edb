"""The page of model servers, beside a real one: plain words for what it counted, what holds a checkpoint, refusals."""

import shutil
from collections.abc import Iterator

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from modelserving import promotion
from modelserving.client import endpoints
from modelserving.deployments import create_deployment
from modelserving.models import Checkpoint
from modelserving.registry import directory_of, register_checkpoint
from tests.modelserving.adapters import write_adapter
from tests.modelserving.server.conftest import HELLO, SECRET, Served, end, launch, says_hello
from tests.training.making import signed_in, text_of
from training.web import server_words

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = launch(tmp_path_factory.mktemp("servers"))
    yield served
    end(served)


@pytest.fixture
def policy(settings, running: Served) -> Iterator[Checkpoint]:
    """A policy that serves in a slot, ranked by a preference model."""
    settings.ARTEFACTS, settings.MODELSERVER_URLS = running.root, [running.url]
    settings.MODELSERVER_SECRET = SECRET
    policy, ranker = (
        register_checkpoint(running.root / name, name=f"the {name}", origin="trained")
        for name in ("policy", "ranker")
    )
    deployment = create_deployment(name="it 2", checkpoint=policy, ranker=ranker, best_of=4)
    promotion.ensure_slot("Everyday help", deployment=deployment)
    yield policy
    for endpoint in endpoints._known.values():
        endpoint.http.close()
    endpoints._known.clear()


def page() -> str:
    return " ".join(text_of(signed_in("administrator").get(reverse("lab_servers"))).split())


def said(name: str, **posted: str) -> str:
    answer = signed_in("administrator").post(reverse(name), posted)
    assert answer.status_code == 302
    return " ".join(str(each) for each in get_messages(answer.wsgi_request))


def test_a_server_at_a_socket_is_this_machines(settings, tmp_path):
    settings.MODELSERVER_URLS = [f"unix://{tmp_path}/modelserver.sock", "http://127.0.0.1:9"]

    said = page()

    assert "<h2>This machine: no answer</h2>" in said
    assert "<h2>http://127.0.0.1:9: no answer</h2>" in said


def test_counts_stand_in_plain_words(policy: Checkpoint, running: Served):
    for _ in range(3):
        says_hello(running)
    running.post("/v1/chat/completions", {"model": "none", "messages": HELLO})
    running.post("/v1/chat/completions", {"model": running.policy, "messages": []})
    with running.client(secret="wrong") as client:
        client.get("/v1/models")

    text = page()

    assert "tokens written 24, checkpoints loaded 2." in text
    assert (
        "<li>for a checkpoint that was not loaded (whoever asks has it loaded, then): 1</li>"
        in text
    )
    assert "<li>that the server could not honour as they were: 1</li>" in text
    assert "<li>with a wrong secret: 1</li>" in text
    assert "errors_" not in text
    assert "preference_model" not in text


def test_what_a_checkpoint_is_for_stands_beside_it(policy: Checkpoint, running: Served):
    adapter = running.root / "adapter"
    write_adapter(adapter, base=running.root / "policy", parent=policy.hash, seed=1)
    identity = running.load(adapter).json()["hash"]

    text = page()
    refused = said("unload_checkpoint", server=running.url, checkpoint=policy.hash)
    gone = said("unload_checkpoint", server=running.url, checkpoint=identity)

    assert "serving in Everyday help, base of 1 adapter here" in text
    assert "ranker in Everyday help" in text
    assert "stays for its adapters" in text
    assert refused.startswith("Not unloaded:")
    assert gone.startswith("No new turns go to it; what runs is finished first.")


def test_what_a_server_refuses_is_said(policy: Checkpoint, running: Served):
    shutil.copytree(running.root / "policy", running.root / "other")
    (running.root / "other" / "manifest.json").unlink()
    (running.root / "other" / "config.json").write_bytes(b"{}")
    spoilt = Checkpoint.objects.create(
        hash="5" * 64, kind="policy", origin="trained", name="spoilt", manifest={}, size=1
    )
    shutil.move(running.root / "other", directory_of(spoilt))

    never = said("unload_checkpoint", server=running.url, checkpoint="never loaded")
    elsewhere = said("unload_checkpoint", server="http://127.0.0.1:9", checkpoint="x")
    refused = said("load_checkpoint", checkpoint=spoilt.hash)

    assert "never loaded" in never
    assert "MODELSERVER_URLS" in elsewhere
    assert refused.startswith("Not loaded: refused:")
    assert refused.endswith("it 2 goes on serving.")


def test_every_error_that_the_server_names_has_words():
    counts = dict.fromkeys([f"errors_{code}" for code in server_words.CAUSE_OF], 1)

    told = server_words.wrong(counts | {"errors_of_tomorrow": 1, "requests_refused": 9})

    assert sum(count for count, _ in told) == len(server_words.CAUSE_OF) + 1
    assert {str(words) for _, words in told} == {
        *map(str, server_words.WRONG.values()), "of tomorrow",
    }  # fmt: skip
