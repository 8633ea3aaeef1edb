"""The form of a new run at a real page: every kind fits a phone with all its settings open, and is chosen by key."""

import pytest
from playwright.sync_api import expect

from tests.browser.test_layout import overflow
from tests.comparisons.making import make_account, make_checkpoint
from tests.training.making import make_release, write_starter
from training.models import TrainingRun

OPEN = "for (const each of document.querySelectorAll('main details')) each.open = true"
KINDS = ("preference_model", "ppo", "evaluation")


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_settings_fit_a_phone(visitor, axe, theme):
    page = visitor.signed_in(make_account("researcher"), theme=theme)
    for kind in KINDS:
        page.set_viewport_size({"width": 1280, "height": 720})
        page.goto(f"/lab/runs/new/?kind={kind}")
        page.evaluate(OPEN)
        assert axe(page) == []
        page.set_viewport_size({"width": 360, "height": 640})
        assert overflow(page) == 0


def test_empty_settings_show_what_the_picked_preset_sets(visitor):
    page = visitor.signed_in(make_account("researcher"))
    page.goto("/lab/runs/new/?kind=preference_model")
    page.evaluate(OPEN)
    rate, schedule = page.locator("#setting-learning_rate"), page.locator("#setting-schedule")
    expect(rate).to_have_attribute("placeholder", "0.0003")
    expect(schedule.locator("option").first).to_have_text("as the preset (linear)")

    page.get_by_label("Preset").select_option("paper")

    expect(rate).to_have_attribute("placeholder", "6e-06")
    expect(schedule.locator("option").first).to_have_text("as the preset (constant)")


def test_suites_are_ticked_and_words_chosen_by_key(visitor):
    make_checkpoint(kind="preference_model")
    make_release()
    page = visitor.signed_in(make_account("researcher"))
    page.goto("/lab/runs/new/?kind=evaluation")
    page.evaluate(OPEN)

    page.get_by_role("checkbox", name="elo").press("Space")
    page.locator("#setting-precision").focus()
    page.keyboard.type("fl")
    expect(page.locator("#setting-precision")).to_have_value("float32")
    page.get_by_label("Release").select_option("r1")
    page.get_by_role("button", name="Start the run").press("Enter")
    page.wait_for_url("**/lab/runs/*-*/")

    config = TrainingRun.objects.get().config
    assert (config["suites"], config["precision"]) == (["elo"], "float32")
