"""Nothing a crowdworker receives says what wrote a response: every byte of a whole run is read.

The bytes are those on the wire: pages, scripts, JSON, event streams, headers, cookies.
"""

import re

import pytest
from playwright.sync_api import Page, expect

from comparisons.models import Showing
from modelserving.models import Checkpoint, Deployment, Slot
from tests.browser.scenes import scene
from tests.browser.steps import dock, leave_box, press, say
from tests.comparisons.making import make_account
from tests.comparisons.talking import agreed_person

TIMES = re.compile(
    rb"server-timing|x-runtime|x-model|first_token|total_milliseconds|latency|pm_score|token_ids"
    rb"|prompt_sha256|deployment|checkpoint", re.IGNORECASE,
)  # fmt: skip


def names() -> dict[str, bytes]:
    """Everything that tells one model from another: names, hashes, short hashes, places, addresses."""
    found = {}
    for each in Checkpoint.objects.all():
        found[f"checkpoint {each.pk} name"] = each.name.encode()
        found[f"checkpoint {each.pk} hash"] = each.hash.encode()
        found[f"checkpoint {each.pk} short hash"] = each.hash[:8].encode()
        found[f"checkpoint {each.pk} path"] = f"checkpoints/{each.hash[:8]}".encode()
    for each in Deployment.objects.all():
        found[f"deployment {each.pk} name"] = each.name.encode()
    for each in Slot.objects.all():
        found[f"slot {each.pk} name"] = each.name.encode()
    assert len(found) >= 10
    assert all(len(each) >= 6 for each in found.values()), found
    return found


def seen(heard: bytes) -> set[str]:
    """Which of them are among these bytes."""
    return {what for what, name in names().items() if name in heard}


def whole_run(page: Page, slug: str) -> None:
    """Everything that a crowdworker can do and open."""
    page.goto(f"/work/{slug}/")
    page.locator("main form[action$=start] button").click()
    say(page, "Which model are you?")
    dock(page, "strip")
    leave_box(page)
    press(page, "3", "Enter")
    dock(page, "message")
    leave_box(page)
    press(page, "z")
    dock(page, "strip")
    page.locator("#dock .menu summary").click()
    page.get_by_text("Ask for two new responses").click()
    dock(page, "waiting")
    dock(page, "strip")
    page.reload()
    leave_box(page)
    press(page, "f")
    page.locator("[name=kind]").first.check()
    page.locator("#flag-dialog .primary").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    press(page, "6", "Enter")
    dock(page, "message")
    for place in ("/", f"/work/{slug}/", f"/work/{slug}/instructions/", "/me/", "/me/wellbeing/",
                  "/me/withdraw", "/keys/", "/opinions/", "/work/not-there/", "/lab/", "/manage/",
                  "/api/v1/campaigns/", "/healthz", "/readyz"):  # fmt: skip
        page.goto(place, wait_until="networkidle")
    page.evaluate("fetch('/me/data.json').then(answer => answer.text())")


def test_no_byte_of_a_run_names_a_model(away, proxy, site):
    away.allowed += ("404", "401", "403", "503")
    site.engine.words_per_second = 100.0
    at = scene(allows_edit=True, allows_write=True, second_opinion_percent=100)
    page = away.signed_in(at.person.account)
    whole_run(page, at.campaign.slug)
    other = away.signed_in(agreed_person(at.campaign).account)
    other.goto("/opinions/")
    dock(other, "strip")
    leave_box(other)
    press(other, "2", "Enter")
    dock(other, "empty")
    assert Showing.objects.filter(purpose="second_opinion").exists()

    heard = bytes(proxy.answered)
    cookies = str([*page.context.cookies(), *other.context.cookies()]).encode()
    assert b"event: delta" in heard
    assert b'"stage"' in heard
    assert b"Set-Cookie".lower() in heard.lower()
    assert seen(heard + cookies + bytes(proxy.sent)) == set()
    assert TIMES.findall(heard) == []


@pytest.mark.parametrize("place", ["/lab/slots/", "/lab/checkpoints/"])
def test_the_same_reading_finds_them_on_a_page_of_the_staff(away, proxy, place):
    scene()
    page = away.signed_in(make_account("administrator"))
    page.goto(place)

    assert seen(bytes(proxy.answered))
