"""Every planted fault is found by the check that promises against it, and nothing else is."""

import json
import shutil
from hashlib import sha256

import pytest
from django.core.management import call_command

from comparisons.models import AuditEntry, Comparison, Conversation, Response, Showing, Turn
from comparisons.services import audit
from comparisons.services.releasing import cut_release, directory_of
from labelapp.doctor.dialogues import _prompt_sha256
from labelapp.doctor.examining import examine
from modelserving import registry
from modelserving.deployments import create_deployment
from modelserving.models import Slot, SlotDeployment
from modelserving.promotion import ensure_slot, put_on_trial
from tests.comparisons.making import make_campaign, make_comparison, make_conversation
from tests.tiny_checkpoints import make_tiny_language_model
from training.models import TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def private_files(settings, tmp_path):
    """A folder of this test's own: the suite's is open to its own user only anyway."""
    settings.VAR = tmp_path / "var"
    settings.VAR.mkdir(mode=0o700)


@pytest.fixture
def whole(tmp_path):
    """A little of everything, all of it in order."""
    make_tiny_language_model(tmp_path / "tiny")
    checkpoint = registry.register_checkpoint(tmp_path / "tiny", name="Tiny", origin="imported")
    deployment = create_deployment(name="Tiny", checkpoint=checkpoint)
    campaign = make_campaign(slot=ensure_slot("helpful", deployment=deployment))
    conversation = make_conversation(campaign=campaign, first="Hello")
    for message in ("Hello", "And then?", "Why?"):
        made = make_comparison(conversation, message=message, picked_by=deployment)
        made.turn.refresh_from_db()
        made.turn.responses.filter(deployment__isnull=False).update(
            prompt_sha256=_prompt_sha256(made.turn)
        )
    audit.record(actor=None, action="act", object_type="thing", object_id=1)
    cut_release("first", test_percent=20)
    return conversation


def _wrong():
    return {result.check.name for result in examine(is_stored_only=True) if not result.is_good}


def test_all_is_well_when_it_is(whole):
    assert _wrong() == set()


def _swap_sides():
    showing = Showing.objects.first()
    a, b = showing.side_a_id, showing.side_b_id
    Showing.objects.filter(pk=showing.pk).update(side_a=b, side_b=a)


def _forget_what_was_chosen():
    first = Comparison.objects.first()
    Turn.objects.filter(pk=first.turn_id).update(continued_by=None)


def _continue_with_another_turns():
    first, second = Comparison.objects.all()[:2]
    Turn.objects.filter(pk=second.turn_id).update(continued_by=None)
    Turn.objects.filter(pk=first.turn_id).update(continued_by=second)


def _edit_a_text():
    Response.objects.filter(pk=Response.objects.first().pk).update(text="Edited.")


def _edit_a_text_and_its_hash():
    picked = Comparison.objects.first().picked_id
    digest = sha256(b"Edited.").hexdigest()
    Response.objects.filter(pk=picked).update(text="Edited.", text_sha256=digest)


def _edit_the_first_message():
    Conversation.objects.update(first_message_sha256="0" * 64)


def _edit_the_audit():
    AuditEntry.objects.update(action="other")


def _change_a_slot_untold():
    slot = Slot.objects.get(name="helpful")
    first = slot.places.get().deployment
    second = create_deployment(name="Tiny too", checkpoint=first.checkpoint)
    put_on_trial(slot, second, traffic=10, expected_generation=1)


def _damage_the_release():
    from comparisons.models import DatasetRelease

    folder = directory_of(DatasetRelease.objects.get())
    (folder / "train.jsonl.gz").chmod(0o600)
    (folder / "train.jsonl.gz").write_bytes(b"")


def _damage_the_checkpoint():
    from modelserving.models import Checkpoint

    weights = registry.directory_of(Checkpoint.objects.get()) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o600)
    weights.write_bytes(content)


def _lose_the_checkpoint():
    from modelserving.models import Checkpoint

    shutil.rmtree(registry.directory_of(Checkpoint.objects.get()))


def _take_traffic_away():
    SlotDeployment.objects.update(traffic=40)


def _skip_a_generation():
    Slot.objects.update(generation=7)


def _finish_without_a_checkpoint():
    TrainingRun.objects.create(kind="preference_model", config={}, state="done")


def _open_the_secret():
    from django.conf import settings

    key = settings.VAR / "secret_key"
    key.write_text("x")
    key.chmod(0o644)


@pytest.mark.parametrize(
    ("plant", "found_by"),
    [
        (_swap_sides, {"meaning"}),
        (_forget_what_was_chosen, {"one-choice", "prefix"}),
        (_continue_with_another_turns, {"one-choice", "prefix"}),
        (_edit_a_text, {"texts", "prefix"}),
        (_edit_a_text_and_its_hash, {"prefix"}),
        (_edit_the_first_message, {"first-messages", "splits"}),
        (_edit_the_audit, {"audit"}),
        (_change_a_slot_untold, {"audit"}),
        (_damage_the_release, {"releases"}),
        (_damage_the_checkpoint, {"checkpoints"}),
        (_lose_the_checkpoint, {"checkpoints"}),
        (_take_traffic_away, {"slots"}),
        (_skip_a_generation, {"slots"}),
        (_finish_without_a_checkpoint, {"runs"}),
        (_open_the_secret, {"private"}),
    ],
)
def test_planted_fault_is_found(whole, plant, found_by):
    plant()

    wrong = _wrong()

    assert wrong
    assert wrong <= found_by


def test_command_fails_and_says_how_to_mend_it(whole, capsys):
    _take_traffic_away()

    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--stored", "--json")

    said = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert said["is_good"] is False
    slots = next(check for check in said["checks"] if check["name"] == "slots")
    assert slots["findings"][0]["cure"]


def test_what_does_not_run_is_an_error_of_its_own(whole, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    settings.MODELSERVER_URLS = ["unix:///nowhere/models.sock"]

    wrong = {result.check.name for result in examine() if not result.is_good}

    assert wrong == {"redis", "model-servers"}
