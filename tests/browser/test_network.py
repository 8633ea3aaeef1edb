"""What a failing network does to work: nothing is lost, nothing is stored twice."""

import pytest
from playwright.sync_api import expect

from comparisons.models import Comparison, Turn
from tests.browser.scenes import FIRST, SECOND, scene
from tests.browser.steps import announced, dock, leave_box, opened, press, say
from tests.comparisons.talking import answered, said

HURRY = (
    "const wait = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = ms => wait(ms / 20)"
)


def texts_are_whole(page) -> None:
    """Both cards hold what is stored, to the letter."""
    showing = Turn.objects.get().showings.get()
    for letter, response in (("A", showing.side_a), ("B", showing.side_b)):
        assert page.locator(f"[data-side={letter}] [data-text]").inner_text() == response.text


@pytest.mark.parametrize("part", ["/messages", "/choice"])
def test_an_answer_lost_after_commit_is_asked_for_again_and_stored_once(away, proxy, part):
    at = scene()
    page = opened(away, at)
    proxy.drop[part] = 2

    say(page, "Only once, please.")
    dock(page, "strip")
    leave_box(page)
    press(page, "7", "Enter")
    dock(page, "message")

    assert len(proxy.lost) == 2
    assert all(part in each for each in proxy.lost)
    assert [each.message for each in Turn.objects.all()] == ["Only once, please."]
    assert [(each.side, each.strength) for each in Comparison.objects.all()] == [("B", 3)]
    expect(page.locator("#saved")).to_have_text("Saved")


def test_a_stream_cut_in_the_middle_goes_on_where_it_was(away, site, proxy):
    site.engine.words_per_second = 25.0
    page = opened(away, scene())
    proxy.cut["/events"] = 900

    say(page, "Tell me a story.")
    dock(page, "strip")

    assert [each for each in proxy.lost if "/events" in each]
    texts_are_whole(page)


def test_a_stream_that_falls_silent_is_given_up(away, site, proxy):
    site.engine.words_per_second = 40.0
    at = scene()
    page = away.signed_in(at.person.account)
    page.clock.install()
    page.goto(at.path)
    say(page, "Tell me a story.")
    expect(page.locator("[data-stream-text]").first).to_contain_text("Tell me")
    proxy.mute()
    deadline = 200
    while Turn.objects.get().state == "generating" and (deadline := deadline - 1):
        page.wait_for_timeout(50)
    assert page.locator("#dock").get_attribute("data-dock") == "waiting"

    page.clock.fast_forward(26_000)
    dock(page, "strip")

    texts_are_whole(page)


def test_a_silent_connection_at_the_choice_is_tried_anew(away, proxy):
    at = scene()
    answered(said(at.conversation), a=FIRST, b=SECOND)
    page = away.signed_in(at.person.account)
    page.add_init_script(HURRY)
    page.goto(at.path)
    leave_box(page)
    press(page, "3")
    proxy.mute()

    press(page, "Enter")
    announced(page, "Not saved yet. Trying again.")
    dock(page, "message")

    assert [(each.side, each.strength) for each in Comparison.objects.all()] == [("A", 2)]


def test_a_product_that_is_down_is_waited_for(away, proxy):
    at = scene()
    answered(said(at.conversation), a=FIRST, b=SECOND)
    page = opened(away, at)
    leave_box(page)
    press(page, "2")
    proxy.refuses = True
    proxy.reset()

    press(page, "Enter")
    expect(page.locator("#saved")).to_have_text("Not saved")
    expect(page.locator("#dock-line")).to_contain_text("Your work is kept on this device.")
    assert (
        page.evaluate("Object.keys(localStorage).filter(k => k.startsWith('outbox')).length") == 1
    )
    proxy.refuses = False
    page.get_by_role("button", name="Try now").click()
    dock(page, "message")

    assert Comparison.objects.count() == 1
    assert page.evaluate("Object.keys(localStorage).filter(k => k.startsWith('outbox'))") == []
