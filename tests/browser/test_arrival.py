"""Arrival in a real browser: a whole HIT inside another site's frame, and the pages' looks."""

import os
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from comparisons.models import Assignment
from tests.browser.embedder import Embedder, embedder
from tests.browser.test_layout import overflow
from tests.comparisons.arriving import arrived, make_source, mturk, prolific
from tests.comparisons.making import make_account
from tests.comparisons.talking import agreed_person, live_campaign

CROWD_SEES = os.environ.get("ARRIVAL_PICTURES", "")


@pytest.fixture
def other_site(settings):
    with embedder() as server:
        settings.MTURK_HOSTS = [server.origin]
        yield server


def framed(page: Page, other_site: Embedder, address: str) -> FrameLocator:
    """Open the address inside the other site's page."""
    page.goto(f"{other_site.origin}/?of={quote(address)}")
    return page.frame_locator("iframe")


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like where somebody asked for pictures."""
    if CROWD_SEES:
        page.screenshot(path=Path(CROWD_SEES) / f"{name}.png", full_page=True)


def hit_address(site, source, **more) -> str:
    return f"{site.url}/mturk/arrive/{source.public_id}/?{urlencode(mturk(**more))}"


def test_a_whole_hit_inside_the_frame(visitor, site, other_site):
    visitor.allowed = ("left the site: http://localhost:", "Blocked autofocusing")
    campaign = live_campaign(conversations_per_assignment=1)
    source = make_source(campaign, platform="mturk")
    page = visitor.page()
    frame = framed(page, other_site, hit_address(site, source, to=other_site.origin))

    frame.get_by_role("button", name="Start").click()
    expect(frame.locator("form[action$='/start'] button")).to_be_visible()
    picture(page, "frame-home")
    frame.locator("form[action$='/start'] button").click()
    frame.locator("[name=has_read]").check()
    frame.locator("form[action$='/consent'] button").click()
    expect(frame.locator("[data-action=pause]:visible").first).to_be_visible()  # by the script
    frame.locator("#dock[data-dock=message] textarea").fill("Hello from the frame")
    page.keyboard.press("Control+Enter")
    expect(frame.locator("#dock")).to_have_attribute("data-dock", "strip")
    picture(page, "frame-strip")
    page.keyboard.press("Escape")
    page.keyboard.press("6")
    page.keyboard.press("Enter")
    expect(frame.locator("#dock")).to_have_attribute("data-dock", "message")
    frame.locator("[data-open-dialog=end-dialog]:visible").first.click()
    frame.locator("#end-dialog button[value=stop]").click()
    picture(page, "frame-hand-in")
    frame.get_by_role("button", name="Hand in on MTurk").click()
    expect(frame.get_by_text("Handed in")).to_be_visible()

    assignment = Assignment.objects.get()
    assert assignment.state == "submitted"
    assert other_site.forms == [
        (
            "/mturk/externalSubmit",
            {"assignmentId": "3ASSIGNMENT1", "receipt": str(assignment.public_id)},
        )
    ]
    cookies = {each["name"]: each for each in page.context.cookies()}
    assert set(cookies) == {"mturk_sessionid", "mturk_csrftoken", "mturk_theme"}
    for each in cookies.values():
        assert (each["path"], each["sameSite"], each["secure"]) == ("/mturk/", "None", True)
        assert "localhost" in each["partitionKey"]


@pytest.mark.parametrize("place", ["/sign-in/", "/", "/arrive/{source}/", "/nothing/"])
def test_nothing_outside_its_path_can_be_framed(visitor, site, other_site, place):
    visitor.allowed = (
        "left the site: http://localhost:",
        "frame-ancestors",
        "X-Frame",
        "404",
        "chrome-error",
    )
    source = make_source(live_campaign())
    page = visitor.page()

    framed(page, other_site, site.url + place.format(source=source.public_id))

    page.wait_for_timeout(500)
    inside = page.frames[1]
    assert inside.url.startswith("chrome-error:")


def test_another_site_than_mturk_cannot_frame_its_path_either(visitor, site, other_site, settings):
    visitor.allowed = ("left the site: http://localhost:", "frame-ancestors", "chrome-error")
    source = make_source(live_campaign(), platform="mturk")
    settings.MTURK_HOSTS = ["https://worker.mturk.com"]
    page = visitor.page()

    framed(page, other_site, f"{site.url}/mturk/arrive/{source.public_id}/")

    page.wait_for_timeout(500)
    assert page.frames[1].url.startswith("chrome-error:")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_of_arrival_fit_and_satisfy_axe(visitor, site, axe, theme):
    campaign = live_campaign(conversations_per_assignment=1)
    study = make_source(campaign, label="Pilot study on Prolific")
    hit = make_source(campaign, platform="mturk")
    done = arrived(campaign, person=agreed_person(campaign), platform="external")
    places = {
        "look": f"/arrive/{study.public_id}/",
        "start": f"/arrive/{study.public_id}/?{urlencode(prolific(submission='s2'))}",
        "lost": "/mturk/lost/",
        "hit": f"/mturk/arrive/{hit.public_id}/?{urlencode(mturk())}",
    }
    visitor.allowed = ("401",)
    found = look_at(visitor.page(theme=theme), axe, places, theme)
    inside = visitor.signed_in(done.assignment.crowdworker.account, theme=theme)
    hand_in = {"hand-in": f"/hand-in/{done.assignment.public_id}/"}
    found += look_at(inside, axe, hand_in, theme)
    staff = {
        "sources": f"/manage/campaigns/{campaign.slug}/arrivals/",
        "source": f"/manage/arrivals/{done.source.public_id}/",
        "source-hit": f"/manage/arrivals/{hit.public_id}/",
        "campaign": f"/manage/campaigns/{campaign.slug}/",
    }
    found += look_at(
        visitor.signed_in(make_account("administrator"), theme=theme), axe, staff, theme
    )

    assert found == []


def look_at(page: Page, axe, places: dict[str, str], theme: str) -> list:
    """What axe finds and what is too wide, at a desk and on a phone."""
    found = []
    for name, place in places.items():
        page.set_viewport_size({"width": 1280, "height": 720})
        page.goto(place)
        found += [(name, each) for each in axe(page)]
        picture(page, f"{name}-{theme}-1280")
        page.set_viewport_size({"width": 360, "height": 640})
        picture(page, f"{name}-{theme}-360")
        found += [(name, "wide", overflow(page))] if overflow(page) > 0 else []
    return found
