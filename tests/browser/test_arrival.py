"""Arrival in a real browser: a HIT begins and is handed in inside another site's frame."""

from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from comparisons.models import Assignment, Comparison, Flag
from tests.browser.embedder import Embedder, embedder
from tests.comparisons.arriving import make_source, mturk
from tests.comparisons.talking import live_campaign


@pytest.fixture
def other_site(settings):
    with embedder() as server:
        settings.MTURK_HOSTS = [server.origin]
        yield server


def framed(page: Page, other_site: Embedder, address: str) -> FrameLocator:
    """Open the address inside the other site's page."""
    page.goto(f"{other_site.origin}/?of={quote(address)}")
    return page.frame_locator("iframe")


def hit_address(site, source, **more) -> str:
    return f"{site.url}/mturk/arrive/{source.public_id}/?{urlencode(mturk(**more))}"


def test_a_hit_begins_and_is_handed_in_inside_the_frame(visitor, site, other_site):
    visitor.allowed = ("left the site: http://localhost:", "Blocked autofocusing")
    source = make_source(live_campaign(), platform="mturk")
    page = visitor.page()
    frame = framed(page, other_site, hit_address(site, source, to=other_site.origin))

    frame.get_by_role("button", name="Start").click()
    expect(frame.locator("form[action$='/start'] button")).to_be_visible()
    cookies = {each["name"]: each for each in page.context.cookies()}
    Assignment.objects.update(state="submitted")
    frame = framed(page, other_site, f"{site.url}/mturk/work/{source.campaign.slug}/")
    frame.get_by_role("button", name="Hand in on MTurk").click()
    expect(frame.get_by_text("Handed in")).to_be_visible()

    receipt = str(Assignment.objects.get().public_id)
    fields = {"assignmentId": "3ASSIGNMENT1", "receipt": receipt}
    assert other_site.forms == [("/mturk/externalSubmit", fields)]
    assert set(cookies) == {"mturk_sessionid", "mturk_csrftoken", "mturk_theme"}
    for each in cookies.values():
        assert (each["path"], each["sameSite"], each["secure"]) == ("/mturk/", "None", True)
        assert "localhost" in each["partitionKey"]


SHUT = """
for (const name of ["localStorage", "sessionStorage"])
  if (window !== window.top)
    Object.defineProperty(window, name, { get() { throw new DOMException("shut", "SecurityError"); } });
"""


def test_a_whole_conversation_happens_inside_a_frame_whose_storage_is_shut(
    visitor, site, other_site
):
    visitor.allowed = ("left the site: http://localhost:", "Blocked autofocusing")
    source = make_source(live_campaign(conversations_per_assignment=1), platform="mturk")
    page = visitor.page()
    page.add_init_script(SHUT)
    frame = framed(page, other_site, hit_address(site, source, to=other_site.origin))
    frame.get_by_role("button", name="Start").click()
    frame.locator("form[action$='/start'] button").click()
    frame.locator("[name=has_read]").check()
    frame.get_by_role("button", name="Start").click()

    frame.locator("[data-action=pause]").first.wait_for()  # shown by the scripts
    box = frame.locator("textarea[name=text]")
    box.fill("My boat leaks. What can I do before the evening?")
    box.press("Control+Enter")
    frame.locator("#dock[data-dock=strip]").wait_for()
    frame.locator("[data-action=flag]").first.click()
    frame.locator("#flag-dialog [value=personal_data]").check()
    frame.locator("#flag-dialog .primary").click()
    expect(frame.locator("#dock-line")).to_have_text("Flagged. Thank you. You can go on.")
    frame.locator("#comment").fill("Both were quick.")
    expect(frame.locator("[data-comment-state]")).to_have_text("Comment kept")
    frame.locator("[name=point][value='6']").check(force=True)
    frame.locator("[data-choose]").click()
    frame.locator("#dock[data-dock=message]").wait_for()

    frame.get_by_role("button", name="End conversation").first.click()
    frame.locator("#end-dialog [name=rating][value='3']").check()
    frame.locator("#end-dialog button[value=stop]").click()
    frame.get_by_role("button", name="Hand in on MTurk").click()
    expect(frame.get_by_text("Handed in")).to_be_visible()

    comparison = Comparison.objects.get()
    assert Flag.objects.get().turn == comparison.turn
    assert (comparison.side, comparison.strength) == ("B", 2)
    assert comparison.turn.conversation.comment == "Both were quick."
    assert comparison.crowdworker.platform == "mturk"
    receipt = str(Assignment.objects.get(state="submitted").public_id)
    fields = {"assignmentId": "3ASSIGNMENT1", "receipt": receipt}
    assert other_site.forms == [("/mturk/externalSubmit", fields)]
