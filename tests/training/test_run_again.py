"""A run that is asked for again from its own page is the same run, whatever settings it had.

Knows the form as a browser does: by its fields and what they hold.
"""

from html.parser import HTMLParser
from typing import Any

import pytest
from django.urls import reverse

from tests.comparisons.making import make_checkpoint
from tests.training.making import make_release, signed_in, text_of, write_starter
from training.models import TrainingRun
from training.services import RunRequest, start_run

pytestmark = pytest.mark.django_db
LORA = '{"rank": 8, "alpha": 32.0, "target_modules": ["q_proj"], "publish": "merged"}'
SETTINGS = [
    ("preference_model", {
        "lora": LORA, "objectives": "helpful,harmless", "tranches": '["online"]',
        "objective_weights": '{"harmless": 2.5}', "activation_checkpointing": "true", "learning_rate": "7e-4",
    }),
    ("language_model", {
        "phases": '[{"until": 0.5, "weights": {"books": 1}}, {"until": 1, "loss_on": "responses"}]',
        "shape": '{"layers": 2}', "optimizer": "muon",
    }),
    ("ppo", {"lora": LORA, "objective_weights": '{"helpful": 0.0}', "kl_weight": "0.5"}),
    ("evaluation", {"suites": "comparisons,elo", "max_examples": "7"}),
]  # fmt: skip


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


@pytest.mark.parametrize(("kind", "overrides"), SETTINGS)
def test_a_run_started_again_is_the_same_run(kind, overrides):
    make_checkpoint(kind="preference_model")
    old = start_run(
        RunRequest(kind=kind, preset="small", overrides=overrides, release=make_release()),
        requested_by=None,
    )
    client = signed_in()
    page = client.get(reverse("new_run") + f"?kind={kind}&from={old.public_id}")

    client.post(reverse("new_run"), fields_of(text_of(page)))

    again = TrainingRun.objects.exclude(pk=old.pk).get()
    assert again.config == old.config
    for name in ("kind", "preset", "name", "release", "initial", "ranker", "test_pm"):
        assert getattr(again, name) == getattr(old, name)


def test_a_pretrained_preference_model_can_be_chosen_as_the_start_of_one():
    pretrained, release = make_checkpoint(kind="preference_model", name="pmp"), make_release()
    client = signed_in()
    form = fields_of(text_of(client.get(reverse("new_run") + "?kind=preference_model")))

    client.post(
        reverse("new_run"), form | {"initial_checkpoint": pretrained.pk, "release": release.pk}
    )

    assert TrainingRun.objects.get().initial == pretrained


def test_settings_that_are_no_json_are_refused_and_kept():
    form = {"kind": "preference_model", "preset": "demo", "set:lora": '{"rank": 8'}
    form["request_key"] = "00000000-0000-4000-8000-000000000000"

    response = signed_in().post(reverse("new_run"), form)

    page = text_of(response)
    assert response.status_code == 400
    assert "write it as JSON" in page.split('role="alert"')[1][:200]
    assert fields_of(page)["set:lora"] == '{"rank": 8'


def test_settings_of_few_words_are_chosen_and_not_typed():
    make_checkpoint(kind="preference_model")
    client, release = signed_in(), make_release()
    page = text_of(client.get(reverse("new_run") + "?kind=evaluation"))
    assert page.count('type="checkbox" name="set:suites"') == 7
    assert ">as the preset (auto)</option>" in page
    chosen = {"set:suites": ["elo", "comparisons"], "set:precision": "float32"}

    client.post(reverse("new_run"), fields_of(page) | chosen | {"release": release.pk})

    config = TrainingRun.objects.get().config
    assert (config["suites"], config["precision"]) == (["elo", "comparisons"], "float32")


def test_every_preset_says_what_it_sets():
    page = text_of(signed_in().get(reverse("new_run") + "?kind=preference_model"))

    rate = '{"demo": "0.0003", "small": "0.0003", "paper": "6e-06"}'.replace('"', "&quot;")
    assert f'placeholder="demo: 0.0003 · small: 0.0003 · paper: 6e-06" data-usual="{rate}"' in page
    assert "as the preset (demo: linear · small: constant · paper: constant)" in page
    assert 'name="set:threads" value="" placeholder="2"' in page


def test_a_word_that_is_none_of_the_few_is_refused_with_those():
    client, release = signed_in(), make_release()
    fields = fields_of(text_of(client.get(reverse("new_run") + "?kind=evaluation")))

    page = client.post(
        reverse("new_run"), fields | {"set:suites": "elo,sorcery", "release": release.pk}
    )

    assert page.status_code == 400
    assert "suites[1] is &#x27;sorcery&#x27;: set it to one of" in text_of(page)


def fields_of(page: str) -> dict[str, Any]:
    """What a browser would send of the page's run form, were its button pressed at once."""
    reader = _Fields()
    reader.feed(page)
    return {name: value for name, value in reader.found.items() if name != "csrfmiddlewaretoken"}


class _Fields(HTMLParser):
    """Names and values of inputs, text areas and chosen options."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Any] = {}
        self.inside, self.is_text = "", False

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        if given.get("type") == "checkbox":
            if "checked" in given:
                self.found.setdefault(given["name"], []).append(given["value"])
        elif tag == "input" and given.get("name"):
            self.found[given["name"]] = given.get("value") or ""
        if tag in {"textarea", "select"}:
            self.inside, self.is_text = given.get("name") or "", tag == "textarea"
        if tag == "textarea":
            self.found[self.inside] = ""
        if tag == "option" and (self.inside not in self.found or "selected" in given):
            self.found[self.inside] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in {"textarea", "select"}:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.is_text and self.inside.startswith("set:"):
            self.found[self.inside] += data
