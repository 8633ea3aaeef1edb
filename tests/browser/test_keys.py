"""Single keys: inert where one types and while paused, remapped, switched off; and less motion when asked for."""

import pytest
from playwright.sync_api import expect

from tests.browser.scenes import ready, scene
from tests.browser.steps import announced, dock, leave_box, opened, press


def picked(page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('[name=point]:checked')].map(p => p.value)")


@pytest.mark.parametrize("box", ["#comment", "#reason_text", "#flag-note"])
def test_keys_are_inert_in_every_text_field(visitor, box):
    page = opened(visitor, ready())
    press(page, "e" if box == "#reason_text" else "f" if box == "#flag-note" else "Shift")
    page.locator(box).focus()
    page.keyboard.type("8bsxzgp?")

    expect(page.locator(box)).to_have_value("8bsxzgp?")
    assert picked(page) == []
    dock(page, "strip")
    expect(page.locator("#pause-cover")).to_be_hidden()


def test_modifiers_and_dialogs_keep_single_keys_quiet(visitor):
    page = opened(visitor, ready())
    press(page, "Control+3", "Alt+4", "Shift+5")
    assert picked(page) == []

    press(page, "?")
    expect(page.locator("#keys-dialog")).to_be_visible()
    press(page, "3")
    assert picked(page) == []
    press(page, "Escape", "3")
    assert picked(page) == ["3"]


def test_switched_off_single_keys_do_nothing_and_the_rest_works(visitor):
    at = ready()
    at.person.account.has_single_keys = False
    at.person.account.save()
    page = opened(visitor, at)

    press(page, "8", "s", "b", "p")
    assert picked(page) == []
    dock(page, "strip")
    press(page, "ArrowRight", "ArrowRight")
    assert picked(page) == ["2"]
    press(page, "Enter")
    dock(page, "message")


def test_a_remapped_key_replaces_the_old_one(visitor):
    at = ready()
    at.person.account.key_map = {"skip": "k"}
    at.person.account.save()
    page = opened(visitor, at)
    expect(page.locator("[data-key-of=skip]").first).to_have_text("k")

    press(page, "s")
    dock(page, "strip")
    press(page, "k")
    dock(page, "message")


def test_a_pause_covers_the_text_and_lets_no_key_through(visitor):
    page = opened(visitor, ready())
    press(page, "6", "p")
    announced(page, "Paused.")
    expect(page.locator("#stage")).to_be_hidden()
    expect(page.locator("[data-action=go-on]")).to_be_focused()

    press(page, "2", "s", "b")
    assert picked(page) == ["6"]
    press(page, "p")
    expect(page.locator("#stage")).to_be_visible()
    dock(page, "strip")
    assert page.evaluate("document.activeElement.value") == "6"


def test_less_motion_is_respected(visitor):
    page = opened(visitor, ready())
    moving = """() => [...document.querySelectorAll("*")].filter(each => {
        const style = getComputedStyle(each);
        return style.animationName !== "none" || !["0s", ""].includes(style.transitionDuration);
    }).length"""
    press(page, "?")
    assert page.evaluate(moving) > 0

    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


def test_long_translations_fit(visitor):
    page = opened(visitor, ready())
    leave_box(page)
    found = {}
    for size in ((1280, 720), (360, 640), (320, 640)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.reload()
        dock(page, "strip")
        found[size] = page.evaluate(
            """() => {
                const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                for (let node = walker.nextNode(); node; node = walker.nextNode()) {
                    const words = node.data.trim();
                    if (words.length > 3 && node.parentElement.closest(".top, .dock, .panel"))
                        node.data += " " + words.slice(0, Math.ceil(words.length * 0.4));
                }
                return document.documentElement.scrollWidth - document.documentElement.clientWidth;
            }"""
        )

    assert found == dict.fromkeys(found, 0)


def test_the_phone_reaches_instructions_pause_and_the_end_by_the_menu(visitor):
    page = visitor.signed_in((at := scene()).person.account, size=(360, 640))
    page.goto(at.path)
    menu = page.locator(".top .menu summary")
    for words, target in (
        ("Instructions", "#instructions-dialog"),
        ("End conversation", "#end-dialog"),
    ):
        menu.click()
        page.locator(".top .menu-body").get_by_text(words).click()
        expect(page.locator(target)).to_be_visible()
        press(page, "Escape")
        expect(menu).to_be_focused()
    menu.click()
    page.locator(".top .menu-body").get_by_text("Pause").click()
    announced(page, "Paused.")
