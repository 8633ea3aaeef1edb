"""Nothing a crowdworker receives says what wrote a response: every byte of a whole run is read.

The bytes are those on the wire: pages, scripts, JSON, event streams, headers, cookies.
"""

import re

import pytest
from playwright.sync_api import Page, expect

from comparisons.models import Response, Showing, WantedReply
from modelserving.models import Checkpoint, Deployment, Slot
from tests.browser.scenes import scene
from tests.browser.steps import dock, leave_box, press, say
from tests.comparisons.making import make_account
from tests.comparisons.practising import with_practice
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
    page.locator("[name=kind][value=names_model]").check()
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


def in_trouble(page: Page, site, slug: str) -> None:
    """A side that fails and is asked for again, a turn that is stopped, one that is skipped, an edit."""
    page.goto(f"/work/{slug}/")
    page.locator("main form[action$=start] button").click()
    site.engine.mode = "refuse"
    say(page, "This will not work.")
    dock(page, "failed")
    site.engine.mode = "echo"
    for _ in range(2):
        if (again := page.get_by_text(re.compile("^Try [AB] again$"))).count():
            again.first.click()
            page.wait_for_timeout(500)
    dock(page, "strip")
    page.locator("#dock .menu summary").click()
    page.get_by_text("Edit response A").click()
    page.locator("textarea[name=text]").fill("In my own words.")
    page.locator("main form .primary").click()
    dock(page, "message")
    site.engine.words, site.engine.words_per_second = 200, 20.0
    say(page, "Stop me.")
    expect(page.locator("[data-stream-text]").first).to_contain_text("Stop")
    leave_box(page)
    press(page, "x")
    dock(page, "strip")
    press(page, "2", "Enter")
    dock(page, "message")
    site.engine.words, site.engine.words_per_second = 12, 100.0
    leave_box(page)
    say(page, "Skip me.")
    dock(page, "strip")
    leave_box(page)
    press(page, "s")
    dock(page, "message")
    page.locator("[data-open-dialog=end-dialog]:visible").first.click()
    page.locator("#end-dialog [name=rating]").first.check()
    page.locator("#end-dialog [value=stop]").click()
    page.wait_for_url("**/work/**")
    for place in ("/me/", "/me/conversations/", "/me/data.json"):
        page.evaluate("place => fetch(place).then(answer => answer.text())", place)


def write_a_reply(page: Page) -> None:
    """The work of somebody whose reply stands against a model's."""
    page.goto("/replies/")
    page.locator("#reply").fill("A reply by a person.")
    page.locator("main form .primary").first.click()
    page.wait_for_url("**/replies/")


def test_no_byte_of_trouble_and_of_other_work_names_a_model(away, proxy, site):
    away.allowed += ("404", "409", "503")
    site.engine.words_per_second = 100.0
    at = scene(
        allows_edit=True, allows_write=True, second_opinion_percent=100, human_reply_percent=100
    )
    page = away.signed_in(at.person.account)
    in_trouble(page, site, at.campaign.slug)
    other = away.signed_in(agreed_person(at.campaign).account)
    write_a_reply(other)
    with_practice(at.campaign, items=1, pass_mark=1)
    third = away.signed_in(agreed_person(at.campaign).account)
    third.goto(f"/work/{at.campaign.slug}/practice/")
    dock(third, "strip")
    leave_box(third)
    press(third, "2", "Enter")
    dock(third, "next")
    failures = set(Response.objects.exclude(failure="").values_list("failure", flat=True))

    heard = bytes(proxy.answered)
    assert b"event: failed" in heard
    assert b"A reply by a person." in bytes(proxy.sent).replace(b"+", b" ")
    assert WantedReply.objects.filter(response__isnull=False).exists()
    assert seen(heard + bytes(proxy.sent)) == set()
    assert TIMES.findall(heard) == []
    assert [each for each in failures if each.encode() in heard] == []


@pytest.mark.parametrize("place", ["/lab/slots/", "/lab/checkpoints/"])
def test_the_same_reading_finds_them_on_a_page_of_the_staff(away, proxy, place):
    scene()
    page = away.signed_in(make_account("administrator"))
    page.goto(place)

    assert seen(bytes(proxy.answered))
