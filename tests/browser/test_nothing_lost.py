"""What tabs, reloads, going back and signing out do to work: nothing is lost, nothing is stored twice."""

from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from comparisons import tasks
from comparisons.models import Comparison, Conversation, Turn
from modelserving.models import SlotDeployment
from tests.browser.scenes import FIRST, SECOND, scene
from tests.browser.steps import announced, dock, leave_box, opened, press, say
from tests.comparisons.making import PASSWORD, make_deployment
from tests.comparisons.talking import Bell, answered, chosen, said

NETWORK = ("ERR_", "dialog: beforeunload", "net::")


def test_leaving_with_unsent_work_is_asked_about_and_only_then(visitor):
    visitor.allowed = NETWORK
    asked = []
    at = scene()
    answered(said(at.conversation), a=FIRST, b=SECOND)
    page = opened(visitor, at)
    page.on("dialog", lambda dialog: asked.append(dialog.type))
    page.reload()
    leave_box(page)
    press(page, "2")
    page.context.set_offline(True)
    press(page, "Enter")
    expect(page.locator("#dock-line")).to_contain_text("Offline.")
    assert asked == []
    page.context.set_offline(False)
    page.route("**/choice", lambda route: route.abort())

    page.reload()
    assert asked == ["beforeunload"]
    page.unroute("**/choice")
    dock(page, "message")

    assert Comparison.objects.count() == 1


def test_a_page_that_was_read_before_the_answer_came_shows_how_it_stands(visitor):
    visitor.allowed = NETWORK
    at = scene()
    answered(said(at.conversation), a=FIRST, b=SECOND)
    page = opened(visitor, at)
    choices, documents = [], []
    page.route("**/choice", lambda route: choices.append((route, 0)))
    page.route(f"**{at.path}", lambda route: documents.append((route, route.fetch())))
    leave_box(page)
    press(page, "2", "Enter")
    wait_for(page, choices)
    page.evaluate("setTimeout(() => location.reload())")
    wait_for(page, documents)

    choices[0][0].continue_()
    page.wait_for_timeout(500)  # answered while the new page is on its way
    assert Comparison.objects.count() == 1
    route, old = documents[0]
    page.unroute(f"**{at.path}")
    route.fulfill(response=old)

    dock(page, "message")


def wait_for(page, found: list) -> None:
    """Until a request was caught."""
    for _ in range(200):
        if found:
            return
        page.wait_for_timeout(50)
    raise AssertionError("nothing was asked for")


def test_offline_is_said_at_once_and_typing_goes_on(visitor):
    visitor.allowed = NETWORK
    page = opened(visitor, scene())
    page.context.set_offline(True)
    announced(page, "You are offline. Your work is kept on this device.")
    page.focus("#message")
    page.keyboard.type("Written in a tunnel.")
    press(page, "Control+Enter")
    expect(page.locator("#saved")).to_have_text("Offline")

    page.context.set_offline(False)
    announced(page, "Back online. Everything is saved.")
    dock(page, "strip")

    assert Turn.objects.get().message == "Written in a tunnel."


def test_going_back_shows_how_it_stands_and_the_typed_text(visitor):
    at = scene()
    page = opened(visitor, at)
    page.focus("#message")
    page.keyboard.type("Half a thought")
    page.goto("/me/")
    chosen(answered(said(at.conversation, "Said in another tab."), a=FIRST, b=SECOND))

    page.go_back()
    dock(page, "message")
    expect(page.locator("#turns > section")).to_have_count(1)
    expect(page.locator("#message")).to_have_value("Half a thought")
    page.go_forward()
    page.go_back()
    expect(page.locator("#message")).to_have_value("Half a thought")


def test_a_tab_keeps_its_own_text_when_the_other_one_goes_on(visitor, monkeypatch):
    visitor.allowed = ("409",)
    monkeypatch.setattr(tasks, "fill_turn", Bell())
    at = scene()
    one = opened(visitor, at)
    two = visitor.tab(one.context)
    two.goto(at.path)
    two.locator("#message").fill("Mine, in the second tab.")
    one.locator("#message").fill("Sent from the first tab.")
    one.keyboard.press("Control+Enter")
    dock(one, "waiting")

    two.locator("#message").press("Control+Enter")
    announced(two, "This conversation went on in another tab. Your unsent text is kept.")
    dock(two, "waiting")
    answered(Turn.objects.get(), a=FIRST, b=SECOND)
    two.reload()
    leave_box(two)
    press(two, "1", "Enter")
    dock(two, "message")

    expect(two.locator("#message")).to_have_value("Mine, in the second tab.")
    assert Turn.objects.count() == 1


def test_reason_and_comment_survive_a_reload_and_a_lost_network(visitor):
    visitor.allowed = NETWORK
    at = scene()
    answered(said(at.conversation), a=FIRST, b=SECOND)
    page = opened(visitor, at)
    press(page, "e")
    page.locator("#reason_text").fill("B names a day.")
    page.context.set_offline(True)
    page.locator("#comment").fill("Typed without a network.")
    page.wait_for_timeout(1000)
    assert Conversation.objects.get(pk=at.conversation.pk).comment == ""
    page.context.set_offline(False)
    expect(page.locator("[data-comment-state]")).to_have_text("Comment kept")
    page.reload()

    expect(page.locator("#reason_text")).to_have_value("B names a day.")
    expect(page.locator("#comment")).to_have_value("Typed without a network.")
    assert Conversation.objects.get(pk=at.conversation.pk).comment == "Typed without a network."
    leave_box(page)
    press(page, "6", "Enter")
    dock(page, "message")
    assert Comparison.objects.get().reason_text == "B names a day."


def test_what_is_typed_while_a_message_is_on_its_way_stays(visitor, monkeypatch):
    visitor.allowed = NETWORK
    monkeypatch.setattr(tasks, "fill_turn", Bell())
    page = opened(visitor, scene())
    page.route("**/messages", lambda route: route.abort())
    page.focus("#message")
    page.keyboard.type("First.")
    press(page, "Control+Enter")
    expect(page.locator("#dock-line")).to_contain_text("Not saved yet")
    page.keyboard.type(" And a second thought.")
    page.unroute("**/messages")
    dock(page, "waiting")

    turn = Turn.objects.get()
    assert turn.message == "First."
    chosen(answered(turn, a=FIRST, b=SECOND))
    page.reload()
    expect(page.locator("#message")).to_have_value("First. And a second thought.")


def test_signed_out_in_between_keeps_the_text_until_one_is_back(visitor):
    visitor.allowed = (*NETWORK, "401", "403")
    at = scene()
    page = opened(visitor, at)
    Session.objects.all().delete()
    say(page, "Kept while signed out.")
    announced(page, "You were signed out.")
    assert not Turn.objects.exists()

    other = visitor.tab(page.context)
    other.goto("/sign-in/")
    other.fill("[name=username]", at.person.account.username)
    other.fill("[name=password]", PASSWORD)
    other.keyboard.press("Enter")
    other.wait_for_url("**/")
    page.get_by_role("button", name="Try now").click()
    dock(page, "strip")

    assert Turn.objects.get().message == "Kept while signed out."


def test_a_change_of_models_between_turns_leaves_the_turn_with_its_own(visitor, site, monkeypatch):
    bell = Bell()
    monkeypatch.setattr(tasks, "fill_turn", bell)
    at = scene()
    page = opened(visitor, at)
    say(page, "Drawn before the change.")
    dock(page, "waiting")
    turn = Turn.objects.get()
    drawn = set(turn.responses.values_list("deployment_id", flat=True))
    places = SlotDeployment.objects.filter(slot=at.campaign.slot)
    places.update(traffic=0, role="retired")
    for role in ("serving", "trial"):
        SlotDeployment.objects.create(
            slot=at.campaign.slot, deployment=make_deployment(), role=role, traffic=50
        )

    monkeypatch.setattr(tasks, "fill_turn", site)
    site.apply_async(kwargs={"turn_id": bell.rings[0]})
    dock(page, "strip")
    assert set(turn.responses.values_list("deployment_id", flat=True)) == drawn
    leave_box(page)
    press(page, "1", "Enter")
    dock(page, "message")
    leave_box(page)
    say(page, "Drawn after it.")
    dock(page, "strip")

    later = Turn.objects.get(index=1)
    assert not drawn & set(later.responses.values_list("deployment_id", flat=True))
    picked = turn.responses.get(pk=Comparison.objects.get().picked_id)
    history = site.engine.requests[-1]["messages"]
    assert [each["content"] for each in history[-3:]] == [
        "Drawn before the change.", picked.text, "Drawn after it.",
    ]  # fmt: skip
