"""The median of each ranking at a real page: fits a phone, opens by key, and its texts stay text."""

import pytest
from playwright.sync_api import expect

from tests.browser.payloads import ALL
from tests.browser.test_hostile_text import VIOLATIONS, watch
from tests.browser.test_layout import overflow
from tests.comparisons.making import make_account
from tests.training.test_medians import ranked_run, row

SCORES = [(7 * place % 17) / 4 - 2 for place in range(17)]


def seventeen(index: int, *, words: str = "Some words of an answer. ") -> dict:
    """A ranking of 17 long responses."""
    found = row(index, scores=SCORES)
    for response in found["responses"]:
        response["text"] = f"{words * 8} Sample {response['sample']}."
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_medians_fit_a_phone_and_open_by_key(visitor, axe, theme):
    run = ranked_run([seventeen(index) for index in range(14)], k=17)
    page = visitor.signed_in(make_account("researcher"), theme=theme)
    page.goto(f"/lab/runs/{run.public_id}/")
    found = axe(page)
    first = page.locator("article.sample").first
    summary = first.locator("summary")

    summary.focus()
    page.keyboard.press("Enter")
    expect(first.locator("ol > li")).to_have_count(17)
    expect(first.locator("[aria-current]")).to_be_visible()
    found += axe(page)
    for width in (360, 320):
        page.set_viewport_size({"width": width, "height": 640})
        assert overflow(page) == 0
    page.get_by_role("link", name="Prompts after").press("Enter")
    expect(page.locator("article.sample")).to_have_count(2)

    assert found == []


def test_payloads_in_prompts_and_samples_stay_text(visitor):
    hostile = seventeen(0, words=ALL)
    hostile["messages"][0]["content"] = ALL
    run = ranked_run([hostile], k=17)
    page = visitor.signed_in(make_account("researcher"))
    page.add_init_script(VIOLATIONS)

    watch(page, f"/lab/runs/{run.public_id}/")

    expect(page.locator("article.sample ol > li")).to_have_count(17)
    assert overflow(page) == 0
