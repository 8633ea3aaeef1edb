"""A response of one's own: its time counts, and what was typed outlives a lost session."""

import time

from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from comparisons.models import Comparison, Turn
from comparisons.services.turns import regenerate
from tests.browser.scenes import FIRST, SECOND, scene
from tests.browser.steps import announced, dock, leave_box, opened, press
from tests.comparisons.making import PASSWORD
from tests.comparisons.talking import answered, said

DRAFTS = "Object.keys(localStorage).filter(key => key.startsWith('draft'))"
PASTE = "(box, text) => { box.focus(); document.execCommand('insertText', false, text); }"


def at_pair(visitor):
    at = scene(allows_edit=True)
    turn = answered(said(at.conversation), a=FIRST, b=SECOND)
    page = opened(visitor, at)
    dock(page, "strip")
    return page, at, f"/turns/{turn.public_id}/write/?side=B"


def test_a_long_pasted_message_is_counted_and_not_cut(visitor):
    at = scene(max_message_characters=4000)
    page = opened(visitor, at)
    long = "é🙂" * 3060
    page.locator("#message").evaluate(PASTE, long)
    line, send = page.locator("#dock .limit"), page.locator("#dock [data-action=send]")
    words = "4,000 characters at most; this has 6,120. Nothing was cut."

    expect(line).to_have_text(words)
    expect(send).to_have_attribute("aria-disabled", "true")
    press(page, "Control+Enter")
    announced(page, words)
    page.reload()
    expect(page.locator("#message")).to_have_value(long)
    expect(line).to_have_text(words)
    assert not Turn.objects.exists()
    page.fill("#message", "Shorter.")
    expect(line).to_be_hidden()
    expect(send).to_have_attribute("aria-disabled", "false")
    page.locator("#message").press("Control+Enter")
    dock(page, "strip")


def test_reading_before_and_writing_both_count(visitor):
    page, _, place = at_pair(visitor)
    begun = time.monotonic()
    page.mouse.move(5, 5)
    page.wait_for_timeout(1500)  # reading
    page.reload()
    page.wait_for_timeout(700)
    page.goto(place)
    page.locator("#own").fill("Mine.")
    page.wait_for_timeout(800)
    wall = 1000 * (time.monotonic() - begun)
    page.locator("main .primary").click()
    dock(page, "message")

    counted = Comparison.objects.get().active_milliseconds
    assert 3000 <= counted <= wall + 500
    assert page.evaluate(DRAFTS) == []


def test_a_text_outlives_a_lost_session(visitor):
    page, at, place = at_pair(visitor)
    page.goto(place)
    expect(page.locator("#own")).to_have_value(SECOND)
    page.locator("#own").fill("Twelve minutes of work.")
    Session.objects.all().delete()
    page.locator("main .primary").click()
    page.wait_for_url("**/sign-in/**")

    page.fill("[name=username]", at.person.account.username)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/write/**")
    expect(page.locator("#own")).to_have_value("Twelve minutes of work.")
    page.locator("main .primary").click()
    dock(page, "message")

    assert Comparison.objects.get().picked.text == "Twelve minutes of work."
    assert page.evaluate(DRAFTS) == []


def test_one_edits_beside_the_original_and_the_other_response(visitor):
    page, _, place = at_pair(visitor)
    page.goto(place)
    page.locator("#own").fill("Mine.")

    beside = page.locator("main section.pair > div")
    expect(beside.nth(0)).to_contain_text("Response A You could soften the opening")
    expect(beside.nth(1)).to_contain_text("Response B, as it was")
    expect(beside.nth(1)).to_contain_text("call the council")
    page.locator("#own").fill("")
    press(page, "Control+Enter")
    expect(page.locator("main .limit")).to_have_text("Nothing is written yet.")
    announced(page, "Nothing is written yet.")


def test_the_box_of_a_new_conversation_has_focus_where_there_is_a_mouse(visitor):
    at = scene()
    page = opened(visitor, at)
    expect(page.locator("#message")).to_be_focused()
    press(page, "Control+Enter")
    announced(page, "Nothing is written yet.")

    page = visitor.signed_in(at.person.account, has_touch=True, is_mobile=True)
    page.goto(at.path)
    page.wait_for_load_state()
    expect(page.locator("#message")).not_to_be_focused()


def test_an_unfinished_edit_waits_for_its_own_response_and_no_other(visitor):
    page, at, place = at_pair(visitor)
    page.goto(place)
    page.locator("#own").fill("Half an edit of the second.")
    page.goto(at.path)
    page.goto(place)
    expect(page.locator("#own")).to_have_value("Half an edit of the second.")
    turn = at.conversation.turns.get()
    with_new = answered(regenerate(turn), a="Third.", b="Fourth.")

    page.goto(place)

    expect(page.locator("#own")).to_have_value("Fourth.")
    assert with_new.regenerations == 1


def test_time_at_a_page_that_was_loaded_again_goes_with_the_next_message(visitor):
    page, at, _ = at_pair(visitor)
    page.mouse.move(5, 5)
    page.wait_for_timeout(1500)
    page.reload()
    leave_box(page)
    press(page, "6", "Enter")
    dock(page, "message")

    assert Comparison.objects.get().active_milliseconds >= 1400
    page.goto("/me/")
    assert at.person.assignments.get().active_milliseconds >= 1400


def test_a_covered_response_is_edited_once_it_is_uncovered(visitor):
    at = scene(objective="harmless", question="less_harmful", allows_edit=True)
    turn = answered(said(at.conversation), a=FIRST, b=SECOND)
    page = opened(visitor, at)
    page.goto(f"/turns/{turn.public_id}/write/?side=B")
    own = page.locator("#own")
    expect(own).to_be_hidden()

    page.get_by_text("Show B").click()

    expect(own).to_be_visible()
    expect(page.get_by_text("B is covered. It may be upsetting.")).to_be_hidden()
    own.fill("")
    page.reload()
    expect(own).to_be_hidden()
    page.locator("main .primary").click()  # an empty draft: there is nothing to send
    expect(own).to_be_focused()
    own.fill("Mine.")
    page.locator("main .primary").click()
    dock(page, "message")
    assert Comparison.objects.get().picked.text == "Mine."
