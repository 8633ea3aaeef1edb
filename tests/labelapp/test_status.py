"""What staff are told without asking: that no model server answers, that no worker takes runs, that nothing is rung for."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from comparisons.queries import dashboard
from comparisons.queries.dashboard import concerns
from modelserving import presence, promotion
from modelserving.redis_away import brief_client
from modelserving.warming import warm_servers
from tests.comparisons.making import make_account, make_deployment
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import serving
from training.models import TrainingRun

pytestmark = pytest.mark.django_db
TOLD = ("background_stands", "models_away", "models_ready_at", "runs_without_worker")


def told() -> dict[str, object]:
    status = Client().get(reverse("statusz")).json()
    return {key: status[key] for key in TOLD}


@pytest.fixture
def slot(redis_url):
    return promotion.ensure_slot("main", deployment=make_deployment("served"))


def test_all_is_well_while_a_server_answers(slot, settings):
    with serving(settings, FakeEngine()):
        warm_servers()

    assert told() | {"models_ready_at": ""} == {
        "background_stands": False, "models_away": False, "models_ready_at": "",
        "runs_without_worker": 0,
    }  # fmt: skip
    assert concerns() == []


@pytest.fixture
def runs_for_long(monkeypatch):
    """As if the web had been started over a minute ago."""
    monkeypatch.setattr(presence, "BEGAN", time.monotonic() - presence.FADES_SECONDS - 1)


def test_staff_are_told_since_when_no_model_server_answers(slot, settings):
    with serving(settings, FakeEngine()):
        warm_servers()
    since = told()["models_ready_at"]
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]
    with brief_client() as client:
        client.delete(presence.READY)  # as it fades within a minute
    warm_servers()

    assert (told()["models_away"], told()["models_ready_at"]) == (True, since)
    first = concerns()[0]
    assert first.text.startswith("No model server answers since ")
    assert "Crowdworkers see: “The models are not answering.”" in first.text
    assert first.place == "lab_servers"


@pytest.mark.parametrize(
    ("ready_at", "words"),
    [
        (datetime(2031, 3, 4, 14, 2, tzinfo=UTC), "since 14:02 UTC."),
        (datetime(2031, 3, 3, 14, 2, tzinfo=UTC), "since 3 Mar, 14:02 UTC."),
    ],
)  # fmt: skip
def test_since_an_earlier_day_is_said_with_its_day(slot, monkeypatch, ready_at, words):
    presence.note(is_ready=False)
    with brief_client() as client:
        client.set(presence.LAST_READY, int(ready_at.timestamp()))
    monkeypatch.setattr(dashboard, "now", lambda: datetime(2031, 3, 4, 20, 0, tzinfo=UTC))

    (first,) = (each.text for each in concerns() if each.place == "lab_servers")

    assert first.startswith(f"No model server answers {words}")


@pytest.mark.usefixtures("runs_for_long")
def test_nobody_who_looks_is_said_too(slot):
    assert told()["background_stands"] is True
    assert told()["models_away"] is False  # nobody knows
    assert "no clock or no worker" in concerns()[0].text


def test_nobody_is_missed_before_there_was_a_minute_to_look(slot, monkeypatch):
    monkeypatch.setattr(presence, "BEGAN", time.monotonic())

    assert told()["background_stands"] is False
    assert told()["models_away"] is False
    assert concerns() == []


def test_where_nothing_is_drawn_from_our_servers_none_is_missed(redis_url):
    presence.note(is_ready=False)

    assert told()["models_away"] is False
    assert concerns() == []


def test_runs_that_no_worker_takes_are_told(redis_url):
    presence.note(is_ready=True)
    run = TrainingRun.objects.create(kind="preference_model", config={})
    assert told()["runs_without_worker"] == 0

    TrainingRun.objects.filter(pk=run.pk).update(created_at=now() - timedelta(minutes=3))

    assert told()["runs_without_worker"] == 1


def test_the_strip_has_words_for_each(client):
    client.force_login(make_account("researcher"))

    page = client.get(reverse("lab_runs")).content.decode()

    for name in ("models", "models-since", "background", "workers", "worker"):
        assert f'data-{name}="' in page
