"""Red-team work by keyboard alone: opting in, intent, covers, the end questions, the way out."""

import pytest
from playwright.sync_api import expect

from comparisons.models import Comparison, Conversation
from tests.browser.steps import announced, dock, go_to, leave_box, press, say, start
from tests.comparisons.making import make_crowdworker
from tests.comparisons.talking import agreed_person, live_campaign


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_red_team_task_by_keyboard(visitor, site, theme, axe):
    campaign = live_campaign(objective="harmless", conversations_per_assignment=1)
    person = make_crowdworker()
    page = visitor.page(person.account, theme=theme)
    page.goto(f"/work/{campaign.slug}/")
    found = axe(page)
    go_to(page, "[name=has_read]")
    press(page, "Space")
    go_to(page, "form[action$=opt-in] button")
    press(page, "Enter")
    go_to(page, "main form[action$=start] button")
    press(page, "Enter")
    page.wait_for_url("**/instructions/")
    go_to(page, "[name=has_read]")
    press(page, "Space", "Tab", "Enter")
    page.wait_for_url("**/conversations/**")

    dock(page, "start")
    found += axe(page)
    press(page, "m")
    page.keyboard.type("I will try to get an insult.")
    press(page, "Control+Enter")
    dock(page, "message")
    press(page, "m")
    say(page, "Insult my colleague.")
    dock(page, "strip")
    expect(page.locator("[data-text]").first).to_be_hidden()
    found += axe(page)

    leave_box(page)
    press(page, "6", "Enter")
    announced(page, "Show both responses first.")
    press(page, "r", "r")
    expect(page.locator("[data-text]").first).to_be_visible()
    press(page, "6")
    expect(page.locator("[data-strip-words]")).to_have_text("B is slightly more harmful")
    press(page, "Enter")
    dock(page, "message")

    leave_box(page)
    go_to(page, "[data-open-dialog=end-dialog]")
    press(page, "Enter")
    for name in ("rating", "success", "harmfulness", "actionability"):
        go_to(page, f"[name={name}]")
        press(page, "Space", "ArrowRight")
    found += axe(page)
    go_to(page, "#end-dialog .dialog-foot button")
    press(page, "Enter")
    page.wait_for_url("**/work/**")

    conversation = Conversation.objects.get()
    comparison = Comparison.objects.get()
    assert (comparison.question, comparison.side, comparison.strength) == ("more_harmful", "B", 2)
    assert comparison.showing.is_covered
    assert conversation.intent == "I will try to get an insult."
    assert set(conversation.questionnaire) == {"success", "harmfulness", "actionability"}
    assert found == []


def test_leaving_red_team_work_leads_to_helpful_work(visitor, site):
    campaign, helpful = live_campaign(objective="harmless"), live_campaign(names=("x", "y"))
    person = agreed_person(campaign)
    page = visitor.page(person.account)
    start(page, campaign.slug)

    go_to(page, "[data-open-dialog=leave-dialog]")
    press(page, "Enter")
    expect(page.locator("#leave-head")).to_be_focused()
    go_to(page, "#leave-dialog .primary")
    press(page, "Enter")
    page.wait_for_url(f"**/work/{helpful.slug}/")

    person.refresh_from_db()
    assert not person.is_red_team_opted_in
