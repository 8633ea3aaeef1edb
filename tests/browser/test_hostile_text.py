"""Text from people and models shows as text: forty payloads in every field a person can see."""

import pytest
from playwright.sync_api import Page, expect

from comparisons.models import Campaign, Comparison, Conversation, Flag, InstructionVersion
from comparisons.services import chat
from tests.browser.payloads import ALL, PAYLOADS
from tests.browser.scenes import Scene, scene
from tests.browser.steps import announced, dock, leave_box, opened, press
from tests.comparisons.making import make_account
from tests.comparisons.talking import agreed_person, answered, chosen, said

VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", e => window.violations.push(e.violatedDirective));
"""
ACTS = (
    "main :is(script, iframe, object, embed, base, link, style, svg, math, img, video, form[action*=evil]),"
    "main [onerror], main [onload], main [onfocus], main a[href^=javascript], main a[href^=data]"
)


def fits(field: str, number: int) -> str:
    """As many payloads as a short column takes, beginning at another one each time."""
    most = Campaign._meta.get_field(field).max_length or 200
    return next(each for each in PAYLOADS[number:] if len(each) <= most)


def filled(number: int, *, objective: str = "helpful") -> Scene:
    """A conversation all of whose texts are payloads."""
    at = scene(objective=objective, second_opinion_percent=100)
    Campaign.objects.filter(pk=at.campaign.pk).update(title=fits("title", number))
    InstructionVersion.objects.filter(campaign=at.campaign).update(
        summary=ALL, body=ALL, consent=ALL
    )
    account = at.person.account
    account.first_name = PAYLOADS[number][:100]
    account.save()
    opening = [{"role": "user", "content": ALL}, {"role": "assistant", "content": ALL}]
    Conversation.objects.filter(pk=at.conversation.pk).update(
        opening=opening, intent=ALL[:1000], comment=ALL[:4000]
    )
    at.conversation.refresh_from_db()
    turn = answered(said(at.conversation, ALL[:3900]), a=ALL, b=ALL)
    chosen(turn, reason_text=ALL[:1900])
    Flag.objects.create(turn=turn, crowdworker=at.person, kind="other", note=ALL[:1900])
    answered(said(at.conversation, ALL[:3900]), a=ALL, b=ALL[::-1])
    return at


def watch(page: Page, place: str) -> None:
    """Open it, open everything in it, and look for anything that acts."""
    page.goto(place, wait_until="load")
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.wait_for_timeout(50)
    assert acting(page) == [], place
    assert page.evaluate("window.violations") == [], place


def acting(page: Page) -> list[str]:
    """Elements that came out of a payload."""
    found = page.evaluate("s => [...document.querySelectorAll(s)].map(e => e.outerHTML)", ACTS)
    return [each for each in found if "evil" in each or "alert" in each]


@pytest.mark.parametrize("number", [0, 2, 17, 34])
def test_payloads_in_every_field_stay_text(visitor, number):
    visitor.allowed = ("404",)
    assert len(PAYLOADS) == 40
    red, at = filled(number, objective="harmless"), filled(number)
    page = visitor.signed_in(at.person.account)
    page.add_init_script(VIOLATIONS)
    slug = at.campaign.slug
    for place in (at.path, "/", f"/work/{slug}/", f"/work/{slug}/instructions/", "/me/", "/keys/",
                  "/me/wellbeing/", "/me/withdraw"):  # fmt: skip
        watch(page, place)
    red_page = visitor.signed_in(red.person.account)
    red_page.add_init_script(VIOLATIONS)
    watch(red_page, red.path)
    other = visitor.signed_in(agreed_person(at.campaign).account)
    other.add_init_script(VIOLATIONS)
    watch(other, "/opinions/")
    chat_ends(at)
    watch(page, at.path)


def test_a_payload_that_did_act_would_be_noticed(visitor):
    page = visitor.signed_in(scene().person.account)
    page.add_init_script(VIOLATIONS)
    page.goto("/me/")
    page.evaluate("text => { document.querySelector('main').innerHTML = text; }", PAYLOADS[3])
    page.evaluate(
        "text => { document.querySelector('h1, main').insertAdjacentHTML('beforeend', text); }",
        PAYLOADS[2],
    )
    page.wait_for_function(
        "() => window.violations.length >= 2"
    )  # a bare expression is evaluated anew, which CSP forbids

    assert len(acting(page)) == 2
    assert any("evil.example" in each for each in visitor.complaints)
    visitor.complaints.clear()


def chat_ends(at: Scene) -> None:
    turn = at.conversation.turns.order_by("-index").first()
    chosen(turn)
    chat.end_conversation(at.conversation, comment=ALL[:4000])


def test_payloads_stay_text_on_the_pages_of_the_staff(visitor):
    visitor.allowed = ("404",)
    at = filled(3)
    page = visitor.signed_in(make_account("administrator"))
    page.add_init_script(VIOLATIONS)
    slug = at.campaign.slug
    for place in ("/manage/", "/manage/campaigns/", f"/manage/campaigns/{slug}/", "/manage/crowd/",
                  f"/manage/crowd/{at.person.public_id}/", "/manage/quality/"):  # fmt: skip
        watch(page, place)


def test_markup_of_our_own_in_a_response_does_nothing(visitor):
    at = scene()
    fake = PAYLOADS[-1]
    answered(said(at.conversation), a=fake, b="x" * 20_000 + "\u200b" * 5_000 + "\n\n" + fake)
    page = opened(visitor, at)
    leave_box(page)

    assert page.locator("[data-choose]").count() == 1
    assert page.locator("[name=point]").count() == 8
    assert page.locator("dialog[open]").count() == 0
    expect(page.locator("[data-side=A] [data-text]")).to_contain_text(
        "data-choose>Choose B</button>"
    )
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    page.get_by_text("Choose B</button>").first.click()
    announced_nothing = page.locator("#announcer, #announcer-urgent").all_inner_texts()
    assert "".join(announced_nothing) == ""
    assert Comparison.objects.count() == 0
    press(page, "2")
    page.locator("[data-choose]").click()
    dock(page, "message")
    announced(page, "Chosen: A is better.")
    assert Comparison.objects.get().side == "A"
