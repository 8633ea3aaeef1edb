"""The way out of red-team work is one button away, and leads to helpful work."""

from playwright.sync_api import expect

from tests.browser.steps import go_to, press, start
from tests.comparisons.talking import agreed_person, live_campaign


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
