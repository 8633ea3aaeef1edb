"""The commands do what the console does, with one line where something is refused."""

import json
import logging

import pytest
from django.core.management import CommandError, call_command

from modelserving import promotion
from modelserving.models import Checkpoint, Deployment, Slot
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import make_checkpoint, make_deployment, serving
from tests.modelserving.test_registry import write_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def slot():
    return promotion.ensure_slot("main", deployment=make_deployment("first"))


def roles():
    return dict(Slot.objects.get().places.values_list("deployment__name", "role"))


def test_import_checkpoint_prints_what_it_made(tmp_path, capsys):
    call_command("import_checkpoint", str(write_model(tmp_path / "m")), name="theirs", json=True)

    stored = json.loads(capsys.readouterr().out)
    assert (stored["name"], stored["kind"], stored["parameters"]) == ("theirs", "language_model", 8)
    assert Checkpoint.objects.get().hash == stored["hash"]


def test_import_checkpoint_refuses_in_one_line(tmp_path):
    with pytest.raises(CommandError) as refused:
        call_command("import_checkpoint", str(tmp_path / "nothing"))

    assert "\n" not in str(refused.value)


def test_deploy_finds_checkpoints_by_hash_and_by_name():
    policy = make_checkpoint("policy-x")
    make_checkpoint("pm", kind="preference_model")

    call_command("deploy", "one", checkpoint=policy.hash[-64:], temperature=0.5)
    call_command("deploy", "two", checkpoint="policy-x", ranker="pm", best_of=4)

    assert Deployment.objects.get(name="one").temperature == 0.5
    assert Deployment.objects.get(name="two").best_of == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"checkpoint": "policy-x", "endpoint": "http://x/v1"}, "either"),
        ({}, "either"),
        ({"checkpoint": "nothing-like-it"}, "no checkpoint"),
        ({"checkpoint": "pm"}, "only language models"),
        ({"checkpoint": "policy-x", "best_of": 4}, "needs a ranker"),
        ({"checkpoint": "policy-x", "ranker": "policy-x", "best_of": 4}, "cannot rank"),
        ({"endpoint": "http://169.254.169.254/v1", "model": "m"}, "not allowed"),
        ({"endpoint": "file:///etc/passwd", "model": "m"}, "write http"),
    ],
)
def test_deploy_refuses_what_cannot_work(options, said):
    make_checkpoint("policy-x")
    make_checkpoint("pm", kind="preference_model")

    with pytest.raises(CommandError, match=said):
        call_command("deploy", "name", **options)

    assert not Deployment.objects.exists()


def test_an_allowed_endpoint_can_be_deployed(settings):
    settings.ALLOWED_ENDPOINTS = ["http://127.0.0.1:8001"]

    call_command(
        "deploy", "vllm", endpoint="http://127.0.0.1:8001/v1/", model="m",
        secret_env="ENDPOINT_SECRET_VLLM",
    )  # fmt: skip

    made = Deployment.objects.get()
    assert (made.endpoint_url, made.endpoint_secret_env) == (
        "http://127.0.0.1:8001/v1", "ENDPOINT_SECRET_VLLM",
    )  # fmt: skip
    with pytest.raises(CommandError, match="ENDPOINT_SECRET"):
        call_command(
            "deploy",
            "leak",
            endpoint="http://127.0.0.1:8001/v1",
            model="m",
            secret_env="SECRET_KEY",
        )


def test_trial_promote_and_roll_back_from_the_terminal(settings, slot, capsys):
    second = make_deployment("second")

    with serving(settings, FakeEngine()):
        call_command("put_on_trial", second.name, traffic=30)
        on_trial = roles()
        with pytest.raises(CommandError, match="Gather more comparisons"):
            call_command("promote", second.name)
        call_command("promote", second.name, force=True, reason="a demonstration")
    promoted = roles()
    call_command("roll_back", reason="worse")

    first, candidate = "deployment of first", "deployment of second"
    assert on_trial == {first: "serving", candidate: "trial"}
    assert promoted == {first: "retired", candidate: "serving"}
    assert roles() == on_trial
    assert "70 %  serving  deployment of first" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no promotion to undo"):
        call_command("roll_back")


def test_a_roll_back_from_the_terminal_names_the_trial_that_ends(settings, slot, capsys):
    with serving(settings, FakeEngine()):
        call_command("promote", make_deployment("second").name, force=True, reason="x")
        call_command("put_on_trial", make_deployment("third").name, traffic=30)

    call_command("roll_back")

    assert "deployment of third left the slot (it was on trial, 30 %)" in capsys.readouterr().out


def test_a_checkpoint_that_is_loaded_when_it_is_needed_is_no_news(settings, slot, caplog):
    caplog.set_level(logging.DEBUG, logger="modelserving.client.calls")

    with serving(settings, FakeEngine()):
        call_command("put_on_trial", make_deployment("second").name, traffic=30)

    asked = [each for each in caplog.records if "NotLoaded" in each.getMessage()]
    assert {each.levelname for each in asked} == {"DEBUG"}


def test_a_deployment_that_does_not_answer_is_neither_tried_nor_promoted(settings, slot):
    second = make_deployment("second")

    with serving(settings, FakeEngine(mode="never_loads")):
        for command in ("put_on_trial", "promote"):
            with pytest.raises(CommandError, match="not finite"):
                call_command(command, second.name)

    assert roles() == {"deployment of first": "serving"}


def test_an_unknown_name_is_answered_with_what_there_is(slot):
    with pytest.raises(CommandError, match="slots: main"):
        call_command("roll_back", slot="other")
    with pytest.raises(CommandError, match="newest: deployment of first"):
        call_command("put_on_trial", "other")
