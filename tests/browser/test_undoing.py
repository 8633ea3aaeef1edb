"""Taking back a choice, a skip or a reason, by keyboard: what was said is there again, and the way back is in view."""

from playwright.sync_api import expect

from comparisons.models import Comparison
from tests.browser.scenes import FIRST, SECOND, chosen_one, ready, scene
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


def test_the_key_beside_undo_is_the_one_that_works_where_one_is(visitor):
    page = opened(visitor, chosen_one())
    key = page.locator("[data-action=undo] [data-key-of]")
    leave_box(page)
    expect(key).to_have_text("z")

    press(page, "m")
    expect(key).to_have_text("Ctrl Z")
    page.keyboard.type("y")
    expect(key).to_be_hidden()
    press(page, "Backspace")
    expect(key).to_have_text("Ctrl Z")
    press(page, "Escape")
    expect(key).to_have_text("z")

    press(page, "m", "Control+z")
    dock(page, "strip")


def test_undo_is_in_view_after_a_skip_below_a_long_message(visitor):
    at = scene()
    answered(said(at.conversation, "A long story.\n" * 80), a=FIRST, b=SECOND)
    page = opened(visitor, at)
    leave_box(page)
    page.evaluate("window.scrollTo(0, 0)")
    press(page, "s")
    dock(page, "message")

    undo = page.locator("[data-action=undo]")
    expect(undo).to_be_in_viewport(ratio=1)
    above = undo.bounding_box()
    assert above["y"] + above["height"] <= page.locator("#dock").bounding_box()["y"]
    expect(page.locator("#message")).to_be_focused()


def test_escape_closes_the_reason_and_keeps_it(visitor):
    page = opened(visitor, ready())
    page.wait_for_load_state()
    press(page, "7", "e")
    page.fill("#reason_text", "It names a day.")

    press(page, "Escape")
    expect(page.locator("#reason_text")).to_be_hidden()
    press(page, "6", "Enter")
    dock(page, "message")

    assert Comparison.objects.latest("pk").reason_text == "It names a day."
