"""What the strip in the header of staff pages says, on screens of every width."""

import json
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

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


@pytest.mark.parametrize(
    ("ready_at", "words"),
    [
        ("2031-05-06T14:02:00Z", "No model server answers since 02:02 PM. Crowdworkers wait."),
        ("2031-05-05T14:02:00Z", "No model server answers since May 5, 02:02 PM. Crowdworkers wait."),
    ],
)  # fmt: skip
def test_since_an_earlier_day_is_said_with_its_day(visitor, ready_at, words):
    status = {"database": True, "redis": True, "models_away": True, "models_ready_at": ready_at}
    page = visitor.signed_in(make_account("administrator"), timezone_id="Etc/UTC")
    page.clock.set_fixed_time(datetime(2031, 5, 6, 20, 0, tzinfo=UTC))
    page.route("**/statusz", lambda route: route.fulfill(body=json.dumps(status)))

    page.goto("/manage/")

    expect(page.locator("#status-strip")).to_have_text(words)
