"""Times of the crowd's pages are the reader's own, wherever the server is."""

from datetime import UTC, datetime

from playwright.sync_api import expect

from comparisons.models import Assignment
from tests.browser.scenes import scene


def test_a_lease_ends_by_the_readers_clock(visitor):
    at = scene()
    Assignment.objects.update(lease_until=datetime(2031, 5, 6, 14, 0, tzinfo=UTC))
    place = f"/work/{at.campaign.slug}/"

    for zone, locale, words in (
        ("America/Chicago", "en-GB", "kept for you until 09:00"),
        ("Asia/Kolkata", "en-US", "kept for you until 07:30 PM"),
    ):
        page = visitor.signed_in(at.person.account, timezone_id=zone, locale=locale)
        page.goto(place)
        expect(page.locator("main")).to_contain_text(words)
