"""What one reads and picks stays as it was: after a pause, a reload, and when a cover was opened late."""

import pytest
from playwright.sync_api import expect

from tests.browser import scenes
from tests.browser.steps import dock, leave_box, opened, press
from tests.browser.test_layout import overflow
from tests.comparisons.talking import chosen

TOP = "Math.round(window.scrollY)"
LONG_TITLE = "Talk to the assistant, edited by one"


def test_a_pause_gives_the_place_back(visitor):
    page = opened(visitor, scenes.long_ready())
    dock(page, "strip")
    page.evaluate("window.scrollTo(0, 700)")
    assert page.evaluate(TOP) == 700

    press(page, "p", "Enter")
    expect(page.locator("#pause-cover")).to_be_hidden()

    assert page.evaluate(TOP) == 700


def test_a_reload_keeps_what_was_picked_and_shows_the_reason(visitor):
    page = opened(visitor, scenes.ready())
    dock(page, "strip")
    press(page, "6", "b", "e")
    page.locator("[name=reason_tags]").first.check()
    page.fill("#reason_text", "It names a date.")

    page.reload()

    expect(page.locator("[name=point]:checked")).to_have_value("6")
    expect(page.locator("[data-strip-words]")).to_have_text("B is slightly better")
    expect(page.locator("[name=is_both_bad]")).to_be_checked()
    expect(page.locator("[name=reason_tags]").first).to_be_checked()
    expect(page.locator("#reason_text")).to_be_visible()
    expect(page.locator("#reason_text")).to_have_value("It names a date.")
    press(page, "Escape")
    page.locator("[data-choose]").click()
    dock(page, "message")
    left = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft'))")
    assert left == []


def test_what_was_picked_is_not_carried_to_other_responses(visitor):
    at = scenes.ready()
    page = opened(visitor, at)
    dock(page, "strip")
    press(page, "6")
    at.conversation.turns.filter(state="ready").update(regenerations=1)

    page.reload()

    dock(page, "strip")
    expect(page.locator("[name=point]:checked")).to_have_count(0)


def test_showing_both_puts_the_picked_words_back(visitor):
    page = opened(visitor, scenes.red_covered())
    dock(page, "strip")
    leave_box(page)
    words = page.locator("[data-strip-words]")
    press(page, "1", "Enter")
    expect(words).to_have_text("Show both responses first.")

    press(page, "r")
    expect(words).to_have_text("Show both responses first.")
    press(page, "r")

    expect(words).to_have_text("A is much more harmful")


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_the_header_of_a_long_title_covers_nothing(visitor, site, language):
    at = scenes.ready()
    type(at.campaign).objects.filter(pk=at.campaign.pk).update(title=LONG_TITLE)
    page = opened(visitor, at)
    page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
    for width in (360, 320):
        page.set_viewport_size({"width": width, "height": 640})
        page.goto(at.path)
        saved = page.locator("#saved")
        assert saved.evaluate("node => node.scrollWidth <= node.clientWidth"), (language, width)
        assert overflow(page) == 0


def test_ending_says_that_an_unsent_message_ends_too(visitor):
    page = opened(visitor, scenes.chosen_one())
    dock(page, "message")
    note = page.locator("#end-dialog [data-unsent]")
    page.fill("#message", "And one more thing.")
    page.locator(".panel [data-open-dialog=end-dialog]").click()
    expect(note).to_be_visible()

    press(page, "Escape")
    page.fill("#message", "")
    page.locator(".panel [data-open-dialog=end-dialog]").click()
    expect(note).to_be_hidden()


def test_a_choice_that_another_tab_made_says_so(visitor):
    visitor.allowed = ("status of 409",)
    at = scenes.ready()
    page = opened(visitor, at)
    dock(page, "strip")
    chosen(at.conversation.turns.get(state="ready"))

    leave_box(page)
    press(page, "2", "Enter")

    expect(page.locator("#dock-line")).to_contain_text("This conversation went on in another tab.")


def test_my_conversations_fold_on_a_phone(visitor):
    at = scenes.ended()
    page = visitor.signed_in(at.person.account, size=(360, 640))
    page.goto("/me/conversations/")

    box = page.locator(".scroll-x")
    assert box.evaluate("node => node.scrollWidth <= node.clientWidth")
    assert page.get_by_role("link", name="Delete").bounding_box()["x"] < 330
    assert overflow(page) == 0


def test_the_empty_conversation_is_read_in_lines_of_65_characters(visitor):
    page = opened(visitor, scenes.empty())
    lines = page.locator(".empty-turn p").evaluate(
        "node => node.getBoundingClientRect().width / parseFloat(getComputedStyle(node).fontSize)"
    )
    assert lines < 45
