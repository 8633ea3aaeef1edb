"""Refused forms of the lab: what is wrong is in sight, and the page they show has an address of its own."""

import re

import pytest
from django.urls import reverse

from modelserving.models import Slot
from modelserving.registry import ensure_starter
from tests.comparisons.making import make_checkpoint, make_deployment
from tests.training.making import make_release, signed_in, text_of, write_starter
from training.models import TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]


def test_a_refused_deployment_is_open_with_its_problem_on_top():
    found = make_deployment().checkpoint
    address = reverse("make_deployment", args=[found.hash])
    typed = {
        "name": "   ",
        "temperature": "99",
        "top_p": "1",
        "max_new_tokens": "9",
        "best_of": "1",
    }

    answer = signed_in().post(address, typed)

    page = text_of(answer)
    assert answer.status_code == 400
    assert '<details class="card" open> <summary>Make a deployment</summary>' in page
    assert '<a href="#id_name">Name</a>' in page
    assert '<a href="#id_temperature">Temperature</a>' in page


def test_theme_and_language_lead_back_to_a_page_that_can_be_opened():
    client, found = signed_in("administrator"), make_checkpoint()
    Slot.objects.create(name="everyday")
    for address, own in (
        (reverse("make_deployment", args=[found.hash]), reverse("checkpoint", args=[found.hash])),
        (reverse("begin_iteration"), reverse("lab_iterations")),
    ):
        page = client.post(address, {}).content.decode()

        nexts = re.findall(r'name="next" value="([^"]*)"', page)
        assert nexts == [own, own]
        assert client.get(own).status_code == 200


def test_the_newest_release_is_chosen_unless_another_is():
    older, newest = make_release("r1"), make_release("r2")
    client = signed_in()

    form = client.get(reverse("new_run")).context["form"]

    assert form["release"].value() == newest.pk
    run = TrainingRun.objects.create(
        kind="preference_model", config={"kind": "preference_model"}, initial=make_checkpoint(),
        release=older,
    )  # fmt: skip
    again = client.get(reverse("new_run"), {"kind": run.kind, "from": str(run.public_id)})
    assert again.context["form"]["release"].value() in {older, older.pk}


def test_a_release_says_which_runs_used_it_and_leads_to_a_new_one():
    older, newest = make_release("r1"), make_release("r2")
    run = TrainingRun.objects.create(
        kind="preference_model", config={"kind": "preference_model"}, initial=make_checkpoint(),
        release=older,
    )  # fmt: skip
    client = signed_in()

    used, unused = (
        text_of(client.get(reverse("manage_release", args=[each.name]))) for each in (older, newest)
    )
    link = reverse("new_run") + "?kind=preference_model&release=r1"

    assert "Used by 1 run:" in used
    assert reverse("run", args=[run.public_id]) in used
    assert "No run has used it yet." in unused
    assert link.replace("&", "&amp;") in used
    assert client.get(link).context["form"]["release"].value() == older.pk


def test_what_stands_ready_follows_the_preset_and_the_release():
    make_release("r1", count=20)
    few = make_release("r2", count=8)
    client, address = signed_in(), reverse("new_run_checks")
    whole = text_of(client.get(reverse("new_run")))
    train, test = few.counts["train"], few.counts["test"]

    asked = {"kind": "preference_model", "preset": "paper", "release": few.pk}
    part = text_of(client.get(address, asked))
    wrong = text_of(client.get(address, asked | {"set:learning_rate": "fast"}))
    ppo = text_of(client.get(address, {"kind": "ppo", "preset": "small", "release": ""}))

    assert "preset demo: about 1 step of up to 32 pairs" in whole
    assert f"release r2: {train} pairs to train on, {test} to test on" in part
    assert "preset paper: about 1 step of up to 128 pairs, each read 1 ×" in part
    assert "missing</span> <span>learning_rate is &#x27;fast&#x27;: write a number" in wrong
    assert "missing</span> <span>No release is chosen." in ppo
    assert "preset small: 200 steps of 64 prompts × 1 each, up to 128 tokens long" in ppo
    assert client.get(address, {"kind": "sorcery"}).status_code == 404


def test_a_refusal_marks_the_field_that_it_names():
    client, asked = signed_in(), {"kind": "preference_model", "preset": "demo"}
    asked["request_key"] = "00000000-0000-4000-8000-000000000000"

    at_setting = text_of(client.post(reverse("new_run"), asked | {"set:learning_rate": "fast"}))
    at_field = text_of(client.post(reverse("new_run"), asked))

    said = '<a href="#setting-learning_rate">learning_rate</a> is &#x27;fast&#x27;: write a number'
    assert said in at_setting
    marked = at_setting.split('<input id="setting-learning_rate"')[1].split(">")[0]
    assert 'aria-invalid="true"' in marked
    assert '<a href="#id_release">Release</a>: A preference model run needs a release' in at_field
    assert 'aria-invalid="true"' in at_field.split('<select name="release"')[1].split(">")[0]


def test_the_starter_checkpoint_is_offered_once_and_taken_again():
    starter, other = ensure_starter(), make_checkpoint()
    run = TrainingRun.objects.create(
        kind="preference_model", config={"kind": "preference_model"}, initial=starter
    )
    again = {"kind": run.kind, "from": str(run.public_id)}

    select = str(signed_in().get(reverse("new_run"), again).context["form"]["initial_checkpoint"])

    offered = re.findall(r'<option value="(\w*)"( selected)?>([^<]*)</option>', select)
    assert [(value, words) for value, _, words in offered] == [
        ("", "the starter checkpoint"), (str(other.pk), str(other)),
    ]  # fmt: skip
    assert [value for value, chosen, _ in offered if chosen] in ([], [""])


def test_a_run_that_waits_says_nothing_of_reading():
    run = TrainingRun.objects.create(
        kind="preference_model", config={"kind": "preference_model"}, initial=make_checkpoint()
    )

    page = text_of(signed_in().get(reverse("run", args=[run.public_id])))

    assert "data-is-waiting" in page  # its curves wait with "No figures yet." until it begins
    assert "Attempt" not in page


def test_researchers_read_who_promotes():
    slot = Slot.objects.create(name="everyday")
    address = reverse("slot", args=[slot.pk])
    words = "An administrator promotes on the evidence, and rolls back."

    assert words in text_of(signed_in().get(address))
    assert words not in text_of(signed_in("administrator").get(address))
