"""Second opinions beside one's own conversations: the same keys, and nothing typed is lost."""

import pytest
from django.test import Client
from playwright.sync_api import expect

from comparisons.models import Comparison, Flag, Showing
from comparisons.services import assignment_ends, onboarding
from tests.browser.scenes import opinion
from tests.browser.steps import announced, dock, leave_box, press
from tests.comparisons.practising import with_practice
from tests.comparisons.talking import agreed_person, answered, chosen, live_campaign, said


def at_opinions(visitor, **more):
    page = visitor.signed_in(opinion().person.account, **more)
    page.goto("/opinions/")
    dock(page, "strip")
    return page


def test_a_reason_of_a_second_opinion_survives_a_reload(visitor):
    page = at_opinions(visitor)
    leave_box(page)
    press(page, "e")
    page.locator("#reason_text").fill("B names a day.")

    page.reload()
    expect(page.locator("#reason_text")).to_have_value("B names a day.")
    leave_box(page)
    press(page, "6", "Enter")
    dock(page, "empty")

    assert Comparison.objects.get(showing__purpose="second_opinion").reason_text == "B names a day."
    assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft'))") == []


def test_second_opinions_have_the_same_keys(visitor):
    page = at_opinions(visitor)
    leave_box(page)
    press(page, "6", "p")
    announced(page, "Paused.")
    expect(page.locator("#stage")).to_be_hidden()
    press(page, "p")
    press(page, "?")
    expect(page.locator("#keys-dialog")).to_be_visible()
    press(page, "Escape")
    with page.context.expect_page() as instructions:
        press(page, "g")

    expect(instructions.value.locator("h1")).to_contain_text("Instructions, version 1")
    expect(page.locator("[name=point]:checked")).to_have_value("6")


def test_after_a_second_opinion_the_next_one_is_said_and_has_the_focus(visitor):
    at = opinion()
    first = Showing.objects.get(purpose="second_opinion")
    turn = answered(said(first.turn.conversation, "And a second one?"), a="Yes.", b="No.")
    chosen(turn)
    page = visitor.signed_in(at.person.account)
    page.goto("/opinions/")
    dock(page, "strip")
    leave_box(page)

    shown = page.locator("#turns .turn").get_attribute("id")
    press(page, "6", "Enter")
    expect(page.locator(f"#{shown}")).to_have_count(0)
    announced(page, "Chosen: B is slightly better. Next: Turn")
    expect(page.locator("#turns h2")).to_be_focused()
    press(page, "3", "Enter")
    dock(page, "empty")

    announced(page, "Chosen: A is slightly better. Nothing to compare right now.")
    expect(page.locator("#turns h2")).to_be_focused()
    layouts = Showing.objects.filter(crowdworker=at.person).values_list("layout", flat=True)
    assert list(layouts) == ["side_by_side"] * 2


def test_a_second_opinion_is_taken_back_by_key(visitor):
    at = opinion()
    page = visitor.signed_in(at.person.account)
    page.goto("/opinions/")
    dock(page, "strip")
    leave_box(page)
    press(page, "6", "Enter")
    dock(page, "empty")
    expect(page.locator("#turns")).to_contain_text("Last pair: you picked B, slightly better.")

    press(page, "z")
    dock(page, "strip")
    expect(page.locator("[name=point]:checked")).to_have_value("6")
    expect(page.locator("#turns h2")).to_be_focused()
    press(page, "3", "Enter")
    dock(page, "empty")

    kept = Comparison.objects.get(showing__purpose="second_opinion", superseded_at__isnull=True)
    assert (kept.side, kept.strength) == ("A", 2)


def test_what_one_person_could_not_send_waits_for_that_person(visitor, site):
    visitor.allowed = ("ERR_", "net::", "dialog: beforeunload")
    at = opinion()
    first = Showing.objects.get(purpose="second_opinion")
    chosen(answered(said(first.turn.conversation, "And a second one?"), a="Yes.", b="No."))
    other = agreed_person(at.campaign)
    page = visitor.signed_in(at.person.account)
    page.goto("/opinions/")
    page.route("**/choice", lambda route: route.abort())
    leave_box(page)
    press(page, "6", "Enter")
    expect(page.locator("#dock-line")).to_contain_text("Not saved yet")
    page.unroute("**/choice")

    for person, is_sent in ((other, False), (at.person, True)):
        client = Client()
        client.force_login(person.account)
        value = client.cookies["sessionid"].value
        page.context.add_cookies([{"name": "sessionid", "value": value, "url": site.url}])
        page.goto("/opinions/")
        dock(page, "strip" if person == other else "empty")
        page.wait_for_timeout(500)
        given = Comparison.objects.filter(showing__purpose="second_opinion")
        assert given.filter(crowdworker=at.person).exists() == is_sent


def test_a_second_opinion_is_flagged(visitor):
    page = at_opinions(visitor)
    leave_box(page)
    press(page, "f")
    page.locator("#flag-dialog [value=upsetting]").check()
    page.locator("#flag-dialog .primary").click()
    announced(page, "Flagged. Thank you. You can go on.")

    assert Flag.objects.get().kind == "upsetting"


def test_practice_lists_its_keys(visitor):
    campaign = live_campaign()
    with_practice(campaign, items=1, pass_mark=1)
    page = visitor.signed_in(agreed_person(campaign).account)
    page.goto(f"/work/{campaign.slug}/practice/")
    dock(page, "strip")
    leave_box(page)

    press(page, "?")

    expect(page.locator("#keys-dialog")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_long_name_leaves_the_menu_its_mark_on_a_phone(visitor, site, language):
    person = agreed_person(live_campaign())
    person.account.username = "a-rather-long-name-of-a-person"
    person.account.save()
    page = visitor.signed_in(person.account, size=(360, 640))
    page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])

    page.goto("/me/")

    room = page.evaluate(
        """() => {
            const all = document.querySelector(".top .menu summary").getBoundingClientRect();
            const name = document.querySelector(".top .menu .name").getBoundingClientRect();
            return Math.min(name.left - all.left, all.right - name.right);
        }"""
    )
    mark = page.evaluate(
        """() => {
            const summary = document.querySelector(".top .menu summary");
            return summary.scrollWidth - summary.clientWidth;
        }"""
    )
    assert mark <= 0
    assert room >= 4


def test_my_work_says_state_and_pay_on_a_phone_without_scrolling(visitor):
    campaign = live_campaign(pay_amount="20.00")
    person = agreed_person(campaign)
    assignment_ends.submit_assignment(onboarding.open_assignment(person, campaign))
    page = visitor.signed_in(person.account, size=(360, 640))
    page.goto("/me/")

    for words in ("0.00 USD", "Pending: checked within 2 days"):
        box = page.locator("main .rows td", has_text=words).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
