"""The page that asks who one is: by keyboard alone, from a form and from a file, on a phone, in the dark, right to left."""

import re

import pytest
from playwright.sync_api import expect

from comparisons.models import ApiToken
from comparisons.services.accounts import create_account
from comparisons.services.exporting import export_release
from comparisons.services.releasing import cut_release
from tests.browser.test_layout import overflow
from tests.comparisons.confirming import never_asked
from tests.comparisons.making import PASSWORD, make_account, make_comparison, make_conversation

NEW = "quite another long one"
PHONES = [(360, 640), (320, 640)]
BUTTON = "main form .btn.primary"


@pytest.fixture
def unasked(visitor, site):
    """Pages of somebody who was not asked for long."""
    visitor.allowed = ("403", "422")  # the console tells of what was refused

    def open_page(account=None, *, language="en", **more):
        account = account or make_account("administrator")
        page = visitor.page(**more)
        session = never_asked(account).cookies["sessionid"].value
        cookies = {"sessionid": session, "django_language": language}
        page.context.add_cookies(
            [{"name": name, "value": value, "url": site.url} for name, value in cookies.items()]
        )
        return page

    return open_page


def ask_for_a_token(page, name: str) -> None:
    page.goto("/manage/api/")
    page.locator("form.card [name=name]").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("main .door h1")).to_be_visible()


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_form_goes_on_by_keyboard_with_what_was_typed(unasked, has_scripts):
    page = unasked(java_script_enabled=has_scripts)
    ask_for_a_token(page, 'nightly <"export">')

    expect(page.locator("#id_confirming_password")).to_be_focused()
    page.keyboard.type("a wrong long password")
    page.keyboard.press("Enter")
    expect(page.locator("main [role=alert]")).to_contain_text("This is not your password.")
    expect(page.locator("#id_confirming_password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    expect(page.locator("code.secret")).to_be_visible()
    assert ApiToken.objects.get().name == 'nightly <"export">'


def test_a_file_is_there_on_the_page_one_comes_back_to(unasked):
    page = unasked()
    make_comparison(make_conversation())
    export_release(cut_release("r-1", test_percent=0), "trl")
    address = "/manage/releases/r/r-1/"
    page.goto(address)

    page.get_by_text("Download", exact=True).click()
    expect(page.locator("#id_confirming_password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"{address}$"))
    with page.expect_download() as download:
        page.get_by_text("Download", exact=True).click()

    assert download.value.suggested_filename.endswith(".zip")


def test_who_has_no_password_chooses_one_beside_the_page_that_keeps_the_form(unasked):
    page = unasked(create_account(username="robin", role="administrator"))
    ask_for_a_token(page, "nightly export")

    with page.context.expect_page() as opened:
        page.get_by_text("Choose a password").click()
    opened.value.locator("#id_new_password").fill(NEW)
    opened.value.keyboard.press("Enter")
    expect(opened.value.locator(".messages")).to_have_text("Your password is set.")
    page.locator(BUTTON).click()

    expect(page.locator("code.secret")).to_be_visible()
    assert ApiToken.objects.get().name == "nightly export"


@pytest.mark.timeout(300)  # axe at every step
@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_the_page_fits_a_phone_in_both_themes_and_satisfies_axe(unasked, axe, language):
    found = []
    for theme in ("light", "dark"):
        for account in (None, create_account(username=f"r-{theme}", role="administrator")):
            page = unasked(account, language=language, theme=theme)
            ask_for_a_token(page, "nightly export")
            found += [(theme, "asked", each) for each in axe(page)]
            if account is None:
                page.keyboard.type("a wrong long password")
                page.keyboard.press("Enter")
                expect(page.locator("main [role=alert]")).to_be_visible()
                found += [(theme, "refused", each) for each in axe(page)]
            for width, height in PHONES:
                page.set_viewport_size({"width": width, "height": height})
                found += [(theme, width, overflow(page))] if overflow(page) > 0 else []

    assert found == []
