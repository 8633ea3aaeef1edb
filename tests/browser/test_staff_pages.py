"""The staff's pages in a browser: by key, on a phone, refused, and when the session was over."""

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from comparisons.models import AuditEntry, Crowdworker
from tests.browser.steps import press
from tests.browser.test_layout import overflow
from tests.comparisons.making import (
    PASSWORD,
    make_account,
    make_campaign,
    make_checkpoint,
    make_crowdworker,
)
from tests.comparisons.talking import live_campaign
from tests.training.making import make_release, write_starter
from training.models import TrainingRun

LONG = "x" * 60
IN_VIEW = """node => { const box = node.getBoundingClientRect(), rail = node.closest('ul').getBoundingClientRect();
  return box.left >= rail.left - 1 && box.right <= rail.right + 1 }"""


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


def make_run(name: str) -> TrainingRun:
    config = {"kind": "preference_model"}
    return TrainingRun.objects.create(
        kind="preference_model", config=config, name=name, initial=make_checkpoint()
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_a_phone_satisfy_axe_and_show_their_place(visitor, axe, theme):
    campaign, run = live_campaign(slug="long", title=f"Help {LONG}"), make_run("first")
    make_release("week-1")
    page = visitor.signed_in(make_account("administrator"), theme=theme, size=(360, 640))
    places = ["/manage/campaigns/long/", "/manage/quality/", "/manage/imports/", "/manage/api/"]
    places += ["/manage/releases/r/week-1/", f"/lab/slots/{campaign.slot_id}/", "/lab/leaderboard/"]
    places += [
        f"/lab/runs/{run.public_id}/",
        f"/lab/runs/compare/?run={run.public_id}",
        "/lab/servers/",
    ]
    found = []
    for place in places:
        page.goto(place)
        page.wait_for_load_state("networkidle")
        found += [(place, each) for each in axe(page)]
        found += [(place, "overflow")] if overflow(page) else []
        is_shown = page.locator(".rail a[aria-current]").evaluate(IN_VIEW)
        found += [] if is_shown else [(place, "its place in the rail is out of view")]

    assert found == []


def test_lists_open_and_are_left_by_key(visitor):
    make_run("older")
    run = make_run("newer")
    page = visitor.signed_in(make_account("researcher"))
    page.goto("/lab/runs/")
    page.wait_for_load_state("networkidle")

    press(page, "j", "x", "Enter")
    page.wait_for_url(f"**/lab/runs/{run.public_id}/")
    page.wait_for_load_state("networkidle")
    press(page, "Escape")
    page.wait_for_url("**/lab/runs/")
    page.goto("/lab/leaderboard/")
    page.wait_for_load_state("networkidle")
    press(page, "o")
    page.wait_for_url("**/lab/leaderboard/?objective=harmless")
    page.wait_for_load_state("networkidle")
    press(page, "?")
    page.wait_for_url("**/keys/")

    expect(page.get_by_role("heading", name="Staff pages")).to_be_visible()


def test_a_persons_outcomes_have_digits_and_two_ask_for_a_reason(visitor):
    person = make_crowdworker()
    page = visitor.signed_in(make_account("administrator"))
    page.goto(f"/manage/crowd/{person.public_id}/")
    page.wait_for_load_state("networkidle")

    press(page, "4")
    expect(page.locator("#reason")).to_be_focused()
    assert Crowdworker.objects.get().standing == "active"
    page.locator("h1").click()
    press(page, "1")
    expect(page.locator(".messages")).to_contain_text("Noted: no problem.")

    assert AuditEntry.objects.get().action == "crowdworker.no_problem"


def test_a_refused_form_takes_the_focus_to_what_is_wrong(visitor):
    visitor.allowed = ("status of 400",)
    make_campaign(slug="busy")
    make_release()
    page = visitor.signed_in(make_account("administrator"), size=(360, 640))
    page.goto("/manage/campaigns/busy/")
    page.fill("#id_max_message_characters", "0")
    page.locator("main .card .btn.primary").click()
    problems = page.locator("[data-problems]")
    expect(problems).to_be_focused()
    expect(problems).to_be_in_viewport()
    expect(page).to_have_title("Not saved: " + "Campaign" + page.title().partition("Campaign")[2])
    problems.get_by_role("link").click()
    expect(page.locator("#id_max_message_characters")).to_be_in_viewport()

    page.goto("/lab/runs/new/?kind=preference_model")
    page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")
    page.fill("#setting-seed", "abc")
    page.get_by_role("button", name="Start the run").click()

    expect(page.locator("[data-problems]")).to_be_focused()
    expect(page.locator("#setting-seed")).to_be_visible()
    expect(page.locator("#setting-seed")).to_have_value("abc")
    assert page.locator("main details.topic[open]").count() == 1


@pytest.mark.parametrize("language", ["en", "ar"])
def test_text_that_was_sent_without_a_session_is_back_after_signing_in(visitor, site, language):
    campaign, account = live_campaign(slug="busy"), make_account("administrator")
    page = visitor.signed_in(account)
    page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
    page.goto("/manage/campaigns/busy/instructions/")
    page.wait_for_load_state("networkidle")
    page.fill("#id_summary", "Written for an hour.")
    Session.objects.all().delete()
    page.context.clear_cookies(name="sessionid")

    page.locator("main form .btn.primary").click()
    page.wait_for_url("**/sign-in/**")
    expect(page.locator(".messages li")).to_have_count(1)
    page.fill("[name=username]", account.username)
    page.fill("[name=password]", PASSWORD)
    press(page, "Enter")
    page.wait_for_url("**/manage/campaigns/busy/instructions/")

    expect(page.locator("#id_summary")).to_have_value("Written for an hour.")
    expect(page.locator("#unsent")).to_be_focused()
    assert campaign.instruction_versions.count() == 1
    page.locator("main form .btn.primary").click()
    page.wait_for_url("**/manage/campaigns/busy/")
    assert campaign.instruction_versions.first().summary == "Written for an hour."
    page.goto("/manage/campaigns/busy/instructions/")
    expect(page.locator("#unsent")).to_be_hidden()


def test_curves_tell_their_ticks_apart(visitor):
    page = visitor.signed_in(make_account("researcher"))
    page.goto("/lab/runs/")
    draw = """async ([points, dots]) => {
      const { drawCurve, emptyBox } = await import('/static/labelapp/js/curve.js');
      const { svg } = drawCurve({ lines: [{ name: 'a', points }], box: emptyBox(), width: 400, title: '', xLabel: '', dots });
      const ticks = [...svg.querySelectorAll('text.tick')].slice(0, -1);
      const of = (anchor) => ticks.filter(n => n.getAttribute('text-anchor') === anchor).map(n => n.textContent);
      return [of('end'), of('middle')];
    }"""

    y, x = page.evaluate(draw, [[[1, 0.7036], [2, 0.7049]], False])
    assert len(set(y)) == len(y) > 1
    assert x == ["1", "2"]
    y, x = page.evaluate(draw, [[[1, 0.12]], False])
    assert len(set(y)) == len(y) > 1
    assert all(each.isdigit() for each in x)
    assert page.evaluate(draw, [[[0.5, 1.0], [1.2, 2.0]], True])[1][0] in {"0", "0.0"}
    assert page.evaluate(draw, [[[100, 5.0], [90000, 250000.0]], False])[0][0] == "0"


def test_a_run_is_reached_and_picked_by_key(visitor):
    for name in ("first", "second"):
        make_run(name)
    page = visitor.signed_in(make_account("administrator"))
    page.goto("/lab/runs/")
    page.wait_for_load_state("networkidle")

    press(page, "j", "j", "k", "x")

    expect(page.locator("tbody tr").nth(0)).to_have_attribute("data-selected", "")
    expect(page.locator("tbody tr").nth(0).locator("[name=run]")).to_be_checked()
    expect(page.locator("tbody tr").nth(1).locator("[name=run]")).not_to_be_checked()
