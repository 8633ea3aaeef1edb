"""A whole helpful task and a whole red-team task by keyboard alone, from signing in to the pay record, in each theme.

With RECORD_TO=folder each step leaves a picture, what was announced and what axe found.
"""

import pytest
from playwright.sync_api import Page, expect

from comparisons.models import Assignment, Comparison, Conversation, Turn
from tests.browser.recording import Recording
from tests.browser.steps import announced, dock, go_to, leave_box, press, say
from tests.comparisons.making import PASSWORD, make_crowdworker
from tests.comparisons.talking import agreed_person, live_campaign

pytestmark = pytest.mark.timeout(300)  # axe at every step
LISTEN = """
window.spoken = [];
document.addEventListener("DOMContentLoaded", () => {
  for (const region of document.querySelectorAll("[role=status], [role=alert]")) {
    if (!region.id.startsWith("announcer")) continue;
    const hear = () => { if (region.textContent) window.spoken.push(region.textContent); };
    new MutationObserver(hear).observe(region, {childList: true, characterData: true, subtree: true});
  }
});
"""
SENT = "Message sent. Two responses are being written."
COMPLETE = "Both responses are complete. Pick 1 to 8, then Enter."


def begun_by_keyboard(visitor, account, slug: str, **more) -> Page:
    """Signed in, with the campaign's link under the fingers."""
    page = visitor.page(**more)
    page.add_init_script(LISTEN)
    page.goto("/sign-in/")
    if not page.evaluate("document.activeElement?.matches('[name=username]')"):
        go_to(page, "[name=username]")
    page.keyboard.type(account.username)
    press(page, "Tab")
    page.keyboard.type(PASSWORD)
    press(page, "Enter")
    go_to(page, f"main a[href$='/work/{slug}/']")
    return page


def ask(page: Page, text: str) -> None:
    leave_box(page)
    say(page, text)
    dock(page, "strip")
    leave_box(page)


def choose(page: Page, *keys: str) -> None:
    press(page, *keys, "Enter")
    dock(page, "message")
    announced(page, "Chosen: ")


def open_end(page: Page) -> None:
    leave_box(page)
    go_to(page, "[data-open-dialog=end-dialog]")
    press(page, "Enter")
    expect(page.locator("#end-head")).to_be_focused()


def finish(page: Page, then: str) -> None:
    go_to(page, f"#end-dialog [name=then][value={then}]")
    press(page, "Enter")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_helpful_task(visitor, site, theme, axe):
    campaign = live_campaign(
        conversations_per_assignment=2, title="Everyday help", pay_amount="20.00"
    )
    person = agreed_person(campaign)
    record = Recording(f"helpful-{theme}")
    page = begun_by_keyboard(visitor, person.account, campaign.slug, theme=theme)
    found = record.step(page, "work", axe=axe)
    press(page, "Enter")
    go_to(page, "main form[action$=start] button")
    found += record.step(page, "campaign", axe=axe)
    press(page, "Enter")
    dock(page, "message")
    found += record.step(page, "first-message", axe=axe)

    say(page, "Help me write a letter to my landlord.")
    dock(page, "waiting")
    record.step(page, "writing")
    dock(page, "strip")
    found += record.step(page, "ready", axe=axe)
    leave_box(page)
    press(page, "7", "ArrowLeft")
    expect(page.locator("[data-strip-words]")).to_have_text("B is slightly better")
    found += record.step(page, "picked", axe=axe)
    choose(page)
    found += record.step(page, "chosen", axe=axe)
    ask(page, "And make it shorter.")
    choose(page, "1")
    heard = page.evaluate("window.spoken")

    go_to(page, "#comment")
    page.keyboard.type("Both were polite.")
    expect(page.locator("[data-comment-state]")).to_have_text("Comment kept")
    open_end(page)
    go_to(page, "[name=rating]")
    press(page, "ArrowRight", "ArrowRight")
    found += record.step(page, "end-questions", axe=axe)
    finish(page, "next")
    expect(page.locator(".panel-place")).to_have_text("Conversation 2 of 2")
    record.step(page, "next-conversation")
    ask(page, "What rhymes with landlord?")
    choose(page, "4")
    open_end(page)
    finish(page, "stop")
    page.wait_for_url("**/work/**")
    found += record.step(page, "finished", axe=axe)
    go_to(page, "nav a[href$='/me/']")
    press(page, "Enter")
    expect(page.locator("main .rows")).to_contain_text("20.00 USD")
    found += record.step(page, "pay-record", axe=axe)

    assert heard == [
        SENT, COMPLETE, "Chosen: B is slightly better. Write your next message.",
        SENT, COMPLETE, "Chosen: A is much better. Write your next message.",
    ]  # fmt: skip
    assert [(each.side, each.strength) for each in Comparison.objects.order_by("pk")] == [
        ("B", 2), ("A", 4), ("A", 1),
    ]  # fmt: skip
    first = Conversation.objects.order_by("pk").first()
    assert (first.comment, first.overall_rating) == ("Both were polite.", 3)
    assert Assignment.objects.get().state == "submitted"
    assert found == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_red_team_task(visitor, site, theme, axe):
    campaign = live_campaign(
        objective="harmless", conversations_per_assignment=1, title="Red team", pay_amount="14.00"
    )
    helpful = live_campaign(names=("x", "y"), title="Everyday help")
    person = make_crowdworker()
    record = Recording(f"red-team-{theme}")
    page = begun_by_keyboard(visitor, person.account, campaign.slug, theme=theme)
    press(page, "Enter")
    go_to(page, "[name=has_read]")
    press(page, "Space")
    found = record.step(page, "warning", axe=axe)
    go_to(page, "form[action$=opt-in] button")
    press(page, "Enter")
    go_to(page, "main form[action$=start] button")
    press(page, "Enter")
    page.wait_for_url("**/instructions/")
    go_to(page, "[name=has_read]")
    found += record.step(page, "instructions", axe=axe)
    press(page, "Space", "Tab", "Enter")
    dock(page, "start")
    found += record.step(page, "intent", axe=axe)

    press(page, "Escape", "m")
    page.keyboard.type("I will try to get an insult.")
    press(page, "Control+Enter")
    dock(page, "message")
    ask(page, "Insult my colleague.")
    expect(page.locator("[data-text]").first).to_be_hidden()
    found += record.step(page, "covered", axe=axe)
    press(page, "6", "Enter")
    expect(page.locator("[data-strip-words]")).to_have_text("Show both responses first.")
    press(page, "r")
    found += record.step(page, "one-shown", axe=axe)
    press(page, "r", "6")
    found += record.step(page, "both-shown", axe=axe)
    choose(page)
    heard = page.evaluate("window.spoken")
    found += record.step(page, "chosen", axe=axe)

    open_end(page)
    for name in ("rating", "success", "harmfulness", "actionability"):
        go_to(page, f"[name={name}]")
        press(page, "Space", "ArrowRight")
    found += record.step(page, "end-questions", axe=axe)
    finish(page, "stop")
    page.wait_for_url("**/work/**")
    found += record.step(page, "finished", axe=axe)
    go_to(page, "form[action$=leave] button")
    press(page, "Enter")
    page.wait_for_url(f"**/work/{helpful.slug}/")
    found += record.step(page, "back-to-helpful-work", axe=axe)
    go_to(page, "nav a[href$='/me/']")
    press(page, "Enter")
    expect(page.locator("main .rows")).to_contain_text("14.00 USD")
    found += record.step(page, "pay-record", axe=axe)

    assert heard == [
        SENT, COMPLETE, "Show both responses first.",
        "Chosen: B is slightly more harmful. Write your next message.",
    ]  # fmt: skip
    conversation, comparison = Conversation.objects.get(), Comparison.objects.get()
    assert (comparison.question, comparison.side, comparison.strength) == ("more_harmful", "B", 2)
    assert comparison.showing.is_covered
    assert conversation.intent == "I will try to get an insult."
    assert conversation.questionnaire == {"success": 2, "harmfulness": 2, "actionability": 2}
    assert Turn.objects.get().state == "chosen"
    person.refresh_from_db()
    assert not person.is_red_team_opted_in
    assert found == []
