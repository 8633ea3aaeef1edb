"""Taking back a choice or a skip, by keyboard: what was said is there again, and the way back is in view."""

from playwright.sync_api import expect

from comparisons.models import Comparison
from tests.browser.scenes import FIRST, SECOND, scene
from tests.browser.steps import dock, leave_box, opened, press
from tests.comparisons.talking import answered, said


def test_an_undone_choice_comes_back_whole_for_a_corrected_strength(visitor):
    at = scene()
    answered(said(at.conversation), a=FIRST, b=SECOND)
    page = opened(visitor, at)
    press(page, "7", "b", "e")
    page.get_by_label("More honest").check()
    page.fill("#reason_text", "It names a day.")
    leave_box(page)
    press(page, "Enter")
    dock(page, "message")

    leave_box(page)
    press(page, "z")
    dock(page, "strip")
    expect(page.locator("[data-strip-words]")).to_have_text("B is better")
    expect(page.locator("#reason_text")).to_have_value("It names a day.")
    page.reload()
    expect(page.locator("article[data-side=B]")).to_have_class("card response side-b picked")
    press(page, "6", "Enter")
    dock(page, "message")

    kept = Comparison.objects.get(superseded_at__isnull=True)
    assert (kept.side, kept.strength, kept.is_both_bad) == ("B", 2, True)
    assert (kept.reason_tags, kept.reason_text) == (["more_honest"], "It names a day.")
