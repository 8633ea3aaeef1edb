"""What a person does at the conversation page, by keyboard alone."""

from playwright.sync_api import Error, Page, expect


def dock(page: Page, kind: str) -> None:
    """Wait until the dock holds this one thing."""
    expect(page.locator("#dock")).to_have_attribute("data-dock", kind)


def announced(page: Page, text: str) -> None:
    """Wait until the screen reader was told."""
    expect(page.locator("#announcer, #announcer-urgent").filter(has_text=text)).to_have_count(1)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def leave_box(page: Page) -> None:
    """Out of the text field, so that single keys work."""
    page.keyboard.press("Escape")


def go_to(page: Page, selector: str, *, most: int = 60) -> None:
    """Tab until the element has focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        try:
            if page.evaluate("s => document.activeElement?.matches(s)", selector):
                return
        except Error:  # the page before this one was still going away
            page.wait_for_load_state()
    raise AssertionError(f"Tab never reached {selector}")


def say(page: Page, text: str) -> None:
    """Write and send."""
    page.wait_for_load_state()  # scripts have run by then
    press(page, "Escape", "m")  # out of a box that has focus already
    page.keyboard.type(text)
    press(page, "Control+Enter")


def start(page: Page, slug: str) -> None:
    """From the campaign's page into the conversation."""
    page.goto(f"/work/{slug}/")
    go_to(page, "main form[action$=start] button")
    press(page, "Enter")
    page.wait_for_url("**/conversations/**")


def opened(visitor, at) -> Page:
    """The page of a scene, for its person."""
    page = visitor.signed_in(at.person.account)
    page.goto(at.path)
    return page
