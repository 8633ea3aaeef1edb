"""Text that reaches out of its place: piled-up marks, turned direction, one endless line. Nothing else moves."""

import pytest
from playwright.sync_api import Page

from tests.browser.scenes import FIRST, scene
from tests.browser.steps import dock
from tests.comparisons.talking import answered, chosen, said

PILE = "a" + "\u0301\u0310\u030d" * 60 + " b" + "\u0316\u0323\u0331" * 60
LINE = "x" * 100_000
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def at_choice(visitor, *, a: str = "Plain.", b: str = FIRST, message: str = "Hello", before=""):
    at = scene()
    if before:
        chosen(answered(said(at.conversation, "Before."), a=before, b=FIRST))
    answered(said(at.conversation, message), a=a, b=b)
    page = visitor.signed_in(at.person.account)
    page.goto(at.path)
    dock(page, "strip")
    page.evaluate("document.activeElement?.blur()")
    return page


def picture(page: Page, selector: str) -> bytes:
    return page.locator(selector).first.screenshot(animations="disabled")


PLACES = (".turn.open .who", ".turn.open .pair-head", "[data-side=A] > header")


def test_piled_up_marks_stay_in_their_card_and_bubble(visitor):
    plain = at_choice(visitor, a="ab", message="ab")
    clean = [picture(plain, place) for place in PLACES]

    piled = at_choice(visitor, a=PILE, message=PILE.replace(" ", ""))
    found = [picture(piled, place) for place in PLACES]

    assert [place for place, one, two in zip(PLACES, clean, found, strict=True) if one != two] == []


def test_the_address_of_a_link_reads_forwards_whatever_the_text_before_it_says(visitor):
    page = at_choice(visitor, a="\u202e[site](https://evil.example/moc.knab)")

    styles = page.evaluate(
        """() => {
            const style = getComputedStyle(document.querySelector(".prose a"), "::after");
            return [style.unicodeBidi, style.direction];
        }"""
    )

    assert styles == ["isolate", "ltr"]


@pytest.mark.parametrize("size", [(1280, 720), (320, 640)])
def test_an_endless_line_wraps_and_the_page_answers(visitor, size):
    page = at_choice(visitor, a=LINE, b="\u202e" + LINE[:50_000], before="`" + LINE[:50_000] + "`")
    page.set_viewport_size({"width": size[0], "height": size[1]})

    assert page.evaluate(WIDE) == 0
    took = page.evaluate(
        """async () => {
            const begun = performance.now();
            document.querySelector("[name=point][value='6']").click();
            await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
            return performance.now() - begun;
        }"""
    )
    assert took < 1000
    assert page.locator(".response.picked").get_attribute("data-side") == "B"
