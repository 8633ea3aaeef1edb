"""Every state of the conversation fits its window: no sideways scroll, a low dock, points large enough."""

import pytest
from playwright.sync_api import Page

from tests.browser.steps import dock, leave_box, press, say
from tests.comparisons.making import make_crowdworker
from tests.comparisons.talking import agreed_person, answered, begun, live_campaign, said

SIZES = [(1280, 720), (360, 640), (320, 640), (640, 360)]


def overflow(page: Page) -> float:
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def dock_height(page: Page) -> float:
    return page.evaluate("document.getElementById('dock').getBoundingClientRect().height")


@pytest.mark.parametrize("language", ["en", "de", "ar"])
@pytest.mark.parametrize("objective", ["helpful", "harmless"])
def test_the_conversation_fits(visitor, site, objective, language):
    campaign = live_campaign(objective=objective)
    person = agreed_person(campaign)
    conversation = begun(campaign, person)
    page = visitor.page(person.account)
    page.context.add_cookies([{"name": "django_language", "value": language, "url": site.url}])
    place = f"/conversations/{conversation.public_id}/"
    found = []
    for size in SIZES:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.goto(place)
        found.append((size, "message", overflow(page)))
    long = "A sentence of some words. " * 40 + "x" * 300 + "\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    answered(said(conversation), a=long, b="Short.")
    for size in SIZES:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.goto(place)
        dock(page, "strip")
        leave_box(page)
        press(page, "6")
        found.append((size, "strip", overflow(page)))
        widths = page.evaluate(
            "[...document.querySelectorAll('.cell')].map(c => c.getBoundingClientRect().width)"
        )
        assert min(widths) >= 24, size
        assert max(widths) - min(widths) < 1, size
        if size == (360, 640):
            assert dock_height(page) <= 0.30 * 640

    assert [each for each in found if each[2] > 0] == []


def test_other_pages_fit_and_satisfy_axe(visitor, site, axe):
    campaign = live_campaign(pay_amount="20.00")
    live_campaign(objective="harmless", names=("x", "y"))
    person = make_crowdworker()
    pages = ["/", f"/work/{campaign.slug}/", f"/work/{campaign.slug}/instructions/", "/me/"]
    pages += ["/me/wellbeing/", "/me/withdraw", "/keys/", "/password/", "/opinions/"]
    found = []
    for theme in ("light", "dark"):
        page = visitor.page(person.account, theme=theme)
        for place in pages:
            page.set_viewport_size({"width": 1280, "height": 720})
            page.goto(place)
            found += [(theme, place, each) for each in axe(page)]
            page.set_viewport_size({"width": 320, "height": 640})
            found += [(theme, place, overflow(page))] if overflow(page) > 0 else []

    assert found == []


def test_sending_puts_the_message_at_the_top_and_keeps_it_there(visitor, site):
    campaign = live_campaign()
    conversation = begun(campaign)
    page = visitor.page(conversation.crowdworker.account)
    page.goto(f"/conversations/{conversation.public_id}/")
    tops = []
    for text in ("One", "Two"):
        say(page, text)
        dock(page, "strip")
        tops.append(page.evaluate(
            "document.querySelector('#turns > section:last-child').getBoundingClientRect().top"
        ))  # fmt: skip
        leave_box(page)
        press(page, "1", "Enter")
        dock(page, "message")
        leave_box(page)

    assert all(48 <= top <= 80 for top in tops), tops
