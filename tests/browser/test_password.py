"""The page of one's own password: on a phone, in the dark, right to left, and without a script."""

import pytest
from playwright.sync_api import expect

from comparisons.services.accounts import create_account, make_sign_in_link
from tests.browser.test_layout import overflow
from tests.comparisons.making import make_account

NEW = "quite another long one"
PHONES = [(360, 640), (320, 640)]


def test_a_first_password_needs_no_script(visitor, site):
    visitor.allowed = ("422",)  # the console tells of what was refused
    account = create_account(username="robin", role="researcher")
    page = visitor.page(java_script_enabled=False)

    page.goto(make_sign_in_link(account))
    page.locator("main button").click()
    page.wait_for_url(f"{site.url}/password/")
    page.locator("#id_new_password").fill("short")
    page.keyboard.press("Enter")
    expect(page.locator("#id_new_password_error")).to_contain_text("too short")
    page.locator("#id_new_password").fill(NEW)
    page.locator("main button").click()

    expect(page.locator(".messages")).to_have_text("Your password is set.")


@pytest.mark.timeout(300)  # axe at every step
@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_the_page_fits_a_phone_in_both_themes_and_satisfies_axe(visitor, site, axe, language):
    visitor.allowed = ("422",)
    found = []
    for theme in ("light", "dark"):
        for account in (make_account(), create_account(username=f"r-{theme}", role="researcher")):
            page = visitor.signed_in(account, theme=theme)
            cookie = {"name": "django_language", "value": language, "url": site.url}
            page.context.add_cookies([cookie])
            page.goto("/password/")
            found += [(theme, "asked", each) for each in axe(page)]
            if account.has_usable_password():
                page.locator("#id_current_password").fill("a wrong long password")
            page.locator("#id_new_password").fill("short")
            page.keyboard.press("Enter")
            expect(page.locator("[aria-invalid=true]")).to_have_count(1)
            found += [(theme, "refused", each) for each in axe(page)]
            page.locator("[data-menu] > summary").click()
            for width, height in PHONES:
                page.set_viewport_size({"width": width, "height": height})
                found += [(theme, width, overflow(page))] if overflow(page) > 0 else []

    assert found == []
