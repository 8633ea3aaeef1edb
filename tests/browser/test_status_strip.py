"""What the strip in the header of staff pages says, on screens of every width."""

import pytest

from tests.browser.test_layout import overflow
from tests.comparisons.making import make_account

LONG = "Hintergrundarbeit steht still: seit einer Minute keine Uhr oder kein Arbeiter, und niemand antwortet."


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_it_is_read_whole_on_a_phone_and_moves_nothing_aside(visitor, axe, language):
    page = visitor.signed_in(make_account("administrator"), locale=language)
    page.goto("/manage/")
    strip = page.locator("#status-strip")
    strip.evaluate("(node, text) => { node.textContent = text }", LONG)

    for width in (360, 320):
        page.set_viewport_size({"width": width, "height": 640})
        assert overflow(page) == 0
        assert strip.evaluate("node => node.scrollWidth <= node.clientWidth")
        assert page.locator(".top .menu > summary").bounding_box()["x"] >= 0

    assert axe(page) == []
