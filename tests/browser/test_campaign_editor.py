"""The campaign editor in a browser: published by key after a list of changes; what is typed survives a reload."""

import pytest
from playwright.sync_api import Page, expect

from comparisons.models import Campaign, Conversation
from comparisons.services.campaigns import change_campaign
from tests.browser.steps import announced, go_to, press
from tests.browser.test_layout import overflow
from tests.comparisons.making import make_account
from tests.comparisons.talking import live_campaign

ADDRESS = "/manage/campaigns/busy/"


@pytest.fixture
def editor(visitor):
    """The page of a live campaign, and who edits it."""
    live_campaign(slug="busy", title="Busy")
    account = make_account("administrator")
    page = visitor.signed_in(account)
    opened(page)
    return page, account


def opened(page: Page) -> None:
    page.goto(ADDRESS)
    page.wait_for_load_state("networkidle")


def drafts(page: Page) -> list[str]:
    return page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft:'))")


def test_a_live_campaign_is_published_by_key_after_its_list(editor):
    page, account = editor
    page.focus("#id_title")
    press(page, "Control+A")
    page.keyboard.type("Busy people")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Publish 1 change to Busy?")
    assert Campaign.objects.get().title == "Busy"
    page.wait_for_load_state("networkidle")
    go_to(page, "main button[name=edit]")
    press(page, "Enter")
    expect(page.locator("#id_title")).to_have_value("Busy people")
    page.wait_for_load_state("networkidle")
    assert drafts(page) == [f"draft:campaign:{account.public_id}:busy"]

    page.focus("#id_title")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Publish 1 change to Busy?")
    page.wait_for_load_state("networkidle")
    go_to(page, "main button[name=publish]")
    press(page, "Enter")

    expect(page.locator(".messages")).to_contain_text("Saved: Title.")
    page.wait_for_load_state("networkidle")
    assert Campaign.objects.get().title == "Busy people"
    assert drafts(page) == []
    expect(page.locator("[data-draft-back]")).to_be_hidden()


def test_what_is_typed_survives_a_reload_and_can_be_discarded(editor):
    page, _account = editor
    page.fill("#id_title", "Busy people")
    page.uncheck("#id_allows_regenerate")
    expect(page.locator("[data-draft-state]")).to_contain_text("Draft kept ")

    opened(page)
    expect(page.locator("#id_title")).to_have_value("Busy people")
    expect(page.locator("#id_allows_regenerate")).not_to_be_checked()
    expect(page.locator("[data-draft-back]")).to_be_visible()
    assert Campaign.objects.get().title == "Busy"

    page.get_by_role("button", name="Discard it").click()
    expect(page.locator("#id_title")).to_have_value("Busy")
    page.wait_for_load_state("networkidle")
    expect(page.locator("#id_allows_regenerate")).to_be_checked()
    assert drafts(page) == []


def test_a_draft_is_of_one_account_and_knows_what_it_was_based_on(editor, visitor):
    page, _account = editor
    page.fill("#id_red_team_daily_cap", "30")
    bo = make_account("administrator", name="bo")
    change_campaign(Campaign.objects.get(), changes={"red_team_daily_cap": 20}, actor=bo)
    other = visitor.signed_in(bo)
    other.context.add_init_script(
        f"localStorage.setItem(...{[*page.evaluate('Object.entries(localStorage)[0]')]!r})"
    )
    opened(other)
    expect(other.locator("#id_red_team_daily_cap")).to_have_value("20")

    visitor.allowed = ("status of 409",)
    opened(page)
    page.locator("main .card .btn.primary").click()

    expect(page.locator("main .notice.error")).to_contain_text("bo changed red team daily cap")
    expect(page.locator("#id_red_team_daily_cap")).to_have_value("30")
    assert Campaign.objects.get().red_team_daily_cap == 20


def test_sections_are_reached_by_key_say_what_changed_and_are_saved_by_key(editor):
    page, _account = editor
    basics = page.locator("[data-state-of=section-basics]")
    pay = page.locator("[data-state-of=section-pay]")
    press(page, "j", "j", "j", "j", "j", "j")
    expect(page.locator(":focus")).to_have_text("Pay")
    expect(page.locator("#section-pay")).to_be_in_viewport()
    page.fill("#id_title", "Busy people")
    page.select_option("#id_pay_per", "hour")
    page.fill("#id_pay_amount", "7.5")
    expect(basics).to_have_text("1 change")
    expect(pay).to_have_text("2 changes")

    press(page, "Control+s")
    expect(page.get_by_role("heading", level=1)).to_have_text("Publish 3 changes to Busy?")
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Go on editing").click()
    expect(pay).to_have_text("2 changes")
    page.wait_for_load_state("networkidle")
    page.fill("#id_title", "Busy")

    expect(basics).to_have_text("as saved")
    assert Campaign.objects.get().title == "Busy"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_list_and_a_draft_fit_a_phone_and_satisfy_axe(visitor, axe, theme):
    live_campaign(slug="busy", title="Busy" + "x" * 60)
    page = visitor.signed_in(make_account("administrator"), theme=theme, size=(360, 640))
    opened(page)
    page.fill("#id_pool", "experts" * 5)
    page.fill("#id_undo_seconds", "60")
    opened(page)
    press(page, "j", "j")
    expect(page.locator(":focus")).to_have_text("Pairing")
    found = [*axe(page), *(["overflow"] if overflow(page) else [])]
    page.locator("main .card .btn.primary").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Publish 2 changes")
    page.wait_for_load_state("networkidle")

    found += [*axe(page), *(["overflow"] if overflow(page) else [])]

    assert found == []


@pytest.mark.parametrize(("theme", "size"), [("light", (1280, 720)), ("dark", (360, 640))])
def test_a_preview_works_by_key_and_sends_nothing(visitor, axe, theme, size):
    live_campaign(slug="busy", title="Busy")
    page = visitor.signed_in(make_account("administrator"), theme=theme, size=size)
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    opened(page)
    page.get_by_role("link", name="Preview").click()
    page.wait_for_url("**/preview/")
    page.wait_for_load_state("networkidle")
    found = [*axe(page), *(["overflow"] if overflow(page) else [])]

    page.locator("input[name=point]").nth(5).focus()
    press(page, "ArrowRight")
    expect(page.locator(".turn.open .response.picked")).to_have_attribute("data-side", "B")
    page.locator("[data-choose]").focus()
    press(page, "Enter")
    announced(page, "Preview. Nothing is saved.")
    page.get_by_role("link", name="Back to the campaign").click()
    page.wait_for_url(f"**{ADDRESS}")

    assert found == []
    assert set(sent) == {"GET"}
    assert not Conversation.objects.exists()
