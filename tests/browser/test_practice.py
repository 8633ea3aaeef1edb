"""Practice, written replies and one's own work in a real browser: by keyboard, both themes, a phone, Arabic."""

import pytest
from playwright.sync_api import expect

from comparisons.models import QualificationAnswer, QualificationResult
from comparisons.services import qualifying
from tests.browser.steps import announced, dock, go_to, press
from tests.comparisons.practising import with_practice
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def campaign(site):
    found = live_campaign(
        slug="help", title="Everyday help", human_reply_percent=100, second_opinion_percent=100
    )
    turn = answered(said(begun(found), "How do bees sleep?"), a="In a hive.", b="At night.")
    chosen(turn)
    return found


def test_practice_is_done_by_keyboard_alone(campaign, visitor):
    with_practice(campaign, items=2, pass_mark=1)
    person = agreed_person(campaign)
    page = visitor.page(person.account)
    page.goto("/work/help/")
    go_to(page, "main form button")
    press(page, "Enter")
    for number in (1, 2):
        dock(page, "strip")
        page.wait_for_load_state()  # scripts have run by then
        item = qualifying.standing(campaign).items.get(number=number)
        turned = qualifying.is_mirrored(crowdworker=person, item=item, number=1)
        press(page, "7" if turned else "2", "Enter")
        dock(page, "next")
        announced(page, "We see it the same way")
        with page.context.expect_page() as instructions:
            press(page, "g")
        instructions.value.close()
        expect(page.locator("#turns")).to_contain_text(f"Because of {number}.")
        press(page, "Enter")

    expect(page.locator("main")).to_contain_text("2 of 2 were as in our examples.")
    assert QualificationAnswer.objects.filter(is_right=True).count() == 2
    assert QualificationResult.objects.get().is_passed


PAGES = ("/work/help/", "/work/help/practice/", "/replies/", "/me/", "/me/conversations/",
         "/me/wellbeing/", "/opinions/")  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_the_new_pages(campaign, visitor, axe, theme):
    with_practice(campaign, items=3)
    page = visitor.page(agreed_person(campaign).account, theme=theme)

    found = {}
    for address in PAGES:
        page.goto(address)
        if faults := axe(page):
            found[address] = faults

    assert found == {}


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_the_new_pages_fit_a_phone_in_every_language(campaign, visitor, language):
    with_practice(campaign, items=3)
    person = agreed_person(campaign)
    person.account.language = language
    person.account.save(update_fields=["language"])
    page = visitor.page(person.account, size=(360, 640))

    wide = {}
    for address in PAGES:
        page.goto(address)
        if (pixels := page.evaluate(SIDEWAYS)) > 0:
            wide[address] = pixels
        assert page.evaluate("document.documentElement.dir") == (
            "rtl" if language == "ar" else "ltr"
        )

    assert wide == {}


def test_a_reply_survives_a_reload_and_is_sent_by_keyboard(campaign, visitor):
    person = agreed_person(campaign)
    page = visitor.page(person.account)
    page.goto("/replies/")
    page.focus("#reply")
    page.keyboard.type("They rest in empty cells.")

    page.reload()
    expect(page.locator("#reply")).to_have_value("They rest in empty cells.")
    page.focus("#reply")
    press(page, "Control+Enter")

    expect(page.locator("main")).to_contain_text("Your reply is kept. Thank you.")
    assert person.written_responses.get().text == "They rest in empty cells."
    assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft:'))") == []
