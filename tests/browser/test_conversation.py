"""One conversation in a real browser: taking back, reloading, stopping, failing, double clicks, no script."""

import pytest
from playwright.sync_api import expect

from comparisons.models import Comparison, Turn
from tests.browser.scenes import chosen_one
from tests.browser.steps import announced, dock, leave_box, opened, press, say, start
from tests.comparisons.talking import agreed_person, live_campaign


@pytest.fixture
def campaign(site):
    return live_campaign(conversations_per_assignment=1, title="Everyday help")


@pytest.fixture
def person(campaign):
    return agreed_person(campaign)


def test_the_panel_follows_and_keeps_the_end_and_the_menu_the_ways_out_at_hand(visitor):
    at = chosen_one()
    versions = at.campaign.instruction_versions
    versions.update(summary="\n\n".join(["- One more rule to keep in mind."] * 60))
    page = opened(visitor, at)
    expect(page.locator("#panel-now")).to_have_text("Turn 2 of about 4")
    expect(page.locator("aside").get_by_text("End conversation")).to_be_in_viewport(ratio=1)

    say(page, "And then?")
    dock(page, "strip")
    leave_box(page)
    press(page, "2", "Enter")
    dock(page, "message")
    expect(page.locator("#panel-now")).to_have_text("Turn 3 of about 4")
    expect(page.locator("#panel-place")).to_contain_text("turn 3")
    page.locator(".top .menu summary").click()
    found = page.locator(".top .menu-body a").all_inner_texts()
    assert [each for each in found if "ork" in each] == ["Work", "My work"]


def test_a_choice_and_a_skip_can_be_taken_back(visitor, campaign, person):
    page = visitor.page(person.account)
    start(page, campaign.slug)
    say(page, "Help me write a letter.")
    dock(page, "strip")
    leave_box(page)
    press(page, "7", "b", "Enter")
    dock(page, "message")

    leave_box(page)
    press(page, "z")
    dock(page, "strip")
    press(page, "1", "Enter")
    dock(page, "message")
    leave_box(page)
    say(page, "And make it shorter.")
    dock(page, "strip")
    leave_box(page)
    press(page, "s")
    dock(page, "message")
    announced(page, "Skipped.")
    leave_box(page)
    press(page, "z")
    dock(page, "strip")
    press(page, "s")
    dock(page, "message")

    standing = Comparison.objects.filter(superseded_at__isnull=True)
    assert [(each.side, each.strength) for each in standing] == [("A", 4)]
    assert list(Turn.objects.values_list("state", flat=True)) == ["chosen", "skipped"]


def test_keys_do_nothing_in_text_fields(visitor, campaign, person):
    page = visitor.page(person.account)
    start(page, campaign.slug)

    page.focus("#message")
    page.keyboard.type("skip 1 to 8, bxzg?")

    expect(page.locator("#message")).to_have_value("skip 1 to 8, bxzg?")
    assert page.locator("dialog[open]").count() == 0
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_have_value("skip 1 to 8, bxzg?\n")


def test_a_reload_in_the_middle_of_a_stream_loses_nothing(visitor, site, campaign, person):
    site.engine.words_per_second = 15.0
    page = visitor.page(person.account)
    start(page, campaign.slug)
    say(page, "Tell me a story.")
    expect(page.locator("[data-stream-text]").first).to_contain_text("Tell me")

    page.reload()
    expect(page.locator("[data-stream-text]").first).to_contain_text("Tell me")
    dock(page, "strip")

    showing = Turn.objects.get().showings.get()
    for letter, response in (("A", showing.side_a), ("B", showing.side_b)):
        assert page.locator(f"[data-side={letter}] [data-text]").inner_text() == response.text


def test_stop_ends_both_and_lets_one_choose(visitor, site, campaign, person):
    site.engine.words_per_second, site.engine.words = 6.0, 200
    page = visitor.page(person.account)
    start(page, campaign.slug)
    say(page, "A very long story.")
    expect(page.locator("[data-stream-text]").first).to_contain_text("A very")

    leave_box(page)
    press(page, "x")
    dock(page, "strip")

    announced(page, "Writing stopped. You can choose.")
    assert set(Turn.objects.get().responses.values_list("finish_reason", flat=True)) == {"stopped"}


def test_offline_at_the_choice_sends_it_later_once(visitor, campaign, person):
    visitor.allowed = ("ERR_INTERNET_DISCONNECTED", "dialog: beforeunload")
    page = visitor.page(person.account)
    start(page, campaign.slug)
    say(page, "Hello.")
    dock(page, "strip")
    leave_box(page)
    press(page, "2")

    page.context.set_offline(True)
    press(page, "Enter")
    expect(page.locator("#saved")).to_have_text("Offline")
    expect(page.locator("#dock-line")).to_contain_text("kept on this device")
    assert not Comparison.objects.exists()
    page.context.set_offline(False)
    dock(page, "message")

    expect(page.locator("#saved")).to_have_text("Saved")
    assert [(each.side, each.strength) for each in Comparison.objects.all()] == [("A", 3)]


def test_typed_text_and_an_unsent_message_survive_a_reload(visitor, campaign, person):
    visitor.allowed = ("ERR_INTERNET_DISCONNECTED", "ERR_FAILED", "dialog: beforeunload")
    page = visitor.page(person.account)
    start(page, campaign.slug)
    page.focus("#message")
    page.keyboard.type("half a thought")
    page.reload()
    expect(page.locator("#message")).to_have_value("half a thought")

    page.route("**/messages", lambda route: route.abort())
    page.focus("#message")
    press(page, "Control+Enter")
    expect(page.locator("#dock-line")).to_contain_text("Not saved yet")
    page.unroute("**/messages")
    page.reload()
    dock(page, "strip")

    assert Turn.objects.get().message == "half a thought"


def test_a_second_tab_is_told_and_keeps_its_text(visitor, campaign, person):
    visitor.allowed = ("409",)
    page = visitor.page(person.account)
    start(page, campaign.slug)
    other = visitor.tab(page.context)
    other.goto(page.url)

    say(page, "From the first tab.")
    dock(page, "strip")
    other.evaluate("document.getElementById('message').value = ''")
    other.locator("#message").fill("From the second tab.")
    other.keyboard.press("Control+Enter")

    expect(other.locator("#dock-line")).to_be_visible()
    dock(other, "strip")
    assert Turn.objects.get().message == "From the first tab."
    leave_box(other)
    press(other, "3", "Enter")
    dock(other, "message")
    expect(other.locator("#message")).to_have_value("From the second tab.")


def test_double_clicks_choose_once(visitor, campaign, person):
    page = visitor.page(person.account)
    start(page, campaign.slug)
    say(page, "Hello.")
    dock(page, "strip")
    page.locator("[name=point][value='8']").check(force=True)

    page.locator("[data-choose]").dblclick()
    dock(page, "message")

    assert [(each.side, each.strength) for each in Comparison.objects.all()] == [("B", 4)]


def test_a_failed_side_says_so_and_can_be_tried_again(visitor, site, campaign, person):
    site.engine.mode = "refuse"
    page = visitor.page(person.account)
    start(page, campaign.slug)
    say(page, "Hello.")
    dock(page, "failed")
    announced(page, "could not be written")

    site.engine.mode = "echo"
    page.get_by_role("button", name="Try A again").click()
    expect(page.locator("[data-side=A] [data-text]")).to_contain_text("Hello.")
    page.get_by_role("button", name="Try B again").click()

    dock(page, "strip")


def test_responses_cannot_act_or_reach_out(visitor, site, campaign, person):
    page = visitor.page(person.account)
    start(page, campaign.slug)

    say(page, "<img src=https://evil.example/x onerror=alert(1)> ![x](https://evil.example/y) "
              "<button data-choose>Choose</button> <script>alert(2)</script>")  # fmt: skip
    dock(page, "strip")

    assert page.locator(".response img, .response script, .response button").count() == 0
    assert page.locator("[data-choose]").count() == 1


def test_the_page_works_without_script(visitor, site, campaign, person):
    page = visitor.page(person.account, java_script_enabled=False)
    page.goto(f"/work/{campaign.slug}/")
    page.click("main form[action$=start] button")
    page.fill("#message", "Hello without script.")
    page.click("text=Send")
    for _ in range(40):
        if page.locator("[data-choose]").count():
            break
        page.wait_for_timeout(250)
        page.reload()
    page.locator("[name=point][value='2']").check(force=True)
    page.click("[data-choose]")

    dock(page, "message")
    assert [(each.side, each.strength) for each in Comparison.objects.all()] == [("A", 3)]
