"""Every state of the conversation page: how its rows stand and what is done at the page.

Knows scenes and keys, nothing of what should be seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from tests.browser import scenes
from tests.browser.scenes import Scene
from tests.browser.steps import announced, dock, leave_box, press


def pick(page: Page) -> None:
    press(page, "6")
    expect(page.locator(".response.picked")).to_have_attribute("data-side", "B")


def give_reason(page: Page) -> None:
    press(page, "6", "e")
    expect(page.locator("#reason")).to_have_attribute("open", "")


def open_more(page: Page) -> None:
    page.locator("#dock .menu summary").click()


def open_menu(page: Page) -> None:
    page.locator(".top .menu summary").click()


def show_both(page: Page) -> None:
    press(page, "r", "r", "7")


def show_one(page: Page) -> None:
    press(page, "r")


def take_pause(page: Page) -> None:
    press(page, "p")
    announced(page, "Paused.")


def show_streams(page: Page) -> None:
    expect(page.locator("[data-stream-text]").first).to_contain_text("You could soften")


def go_offline(page: Page) -> None:
    press(page, "6")
    page.context.set_offline(True)
    press(page, "Enter")
    expect(page.locator("#dock-line")).to_contain_text("Offline.")


def lose_answers(page: Page) -> None:
    page.route("**/choice", lambda route: route.abort())
    press(page, "6", "Enter")
    expect(page.locator("#dock-line")).to_contain_text("Not saved yet.")


def dialog(opener: str) -> Callable[[Page], None]:
    """Open a dialog by its key or, where it has none, by its button."""

    def open_it(page: Page) -> None:
        if len(opener) == 1:
            press(page, opener)
        else:
            page.locator(f"[data-open-dialog={opener}]:visible").first.click()
        expect(page.locator("dialog[open]")).to_have_count(1)

    return open_it


@dataclass(frozen=True, kw_only=True)
class State:
    """A name for reports, how the rows stand, and what is done at the page."""

    name: str
    arrange: Callable[[], Scene]
    act: Callable[[Page], None] | None = None
    dock: str = "strip"
    breaks_network: bool = False


WAITING = (
    State(name="empty", arrange=scenes.empty, dock="message"),
    State(name="waiting", arrange=scenes.waiting, dock="waiting"),
    State(name="writing", arrange=scenes.writing, act=show_streams, dock="waiting"),
    State(name="held", arrange=scenes.held, dock="held"),
    State(name="one-failed", arrange=scenes.one_failed, dock="failed"),
    State(name="still-failed", arrange=scenes.still_failed, dock="failed"),
)
CHOOSING = (
    State(name="ready", arrange=scenes.ready),
    State(name="picked", arrange=scenes.ready, act=pick),
    State(name="long", arrange=scenes.long_ready, act=pick),
    State(name="stopped", arrange=scenes.stopped),
    State(name="reason", arrange=scenes.ready, act=give_reason),
    State(name="more", arrange=scenes.ready, act=open_more),
)
AFTERWARDS = (
    State(name="chosen", arrange=scenes.chosen_one, dock="message"),
    State(name="skipped", arrange=scenes.skipped, dock="message"),
    State(name="ended", arrange=scenes.ended, dock="ended"),
    State(name="paused", arrange=scenes.ready, act=take_pause),
    State(name="menu", arrange=scenes.ready, act=open_menu),
)
TROUBLE = (
    State(name="offline", arrange=scenes.ready, act=go_offline, breaks_network=True),
    State(name="retrying", arrange=scenes.ready, act=lose_answers, breaks_network=True),
)
RED_TEAM = (
    State(name="red-start", arrange=scenes.red_start, dock="start"),
    State(name="red-covered", arrange=scenes.red_covered),
    State(name="red-one-shown", arrange=scenes.red_covered, act=show_one),
    State(name="red-shown", arrange=scenes.red_covered, act=show_both),
    State(name="red-break", arrange=scenes.red_break, dock="message"),
)
DIALOGS = (
    State(name="instructions-dialog", arrange=scenes.ready, act=dialog("g")),
    State(name="keys-dialog", arrange=scenes.ready, act=dialog("?")),
    State(name="flag-dialog", arrange=scenes.ready, act=dialog("f")),
    State(name="end-dialog", arrange=scenes.chosen_one, act=dialog("end-dialog"), dock="message"),
    State(name="leave-dialog", arrange=scenes.red_covered, act=dialog("leave-dialog")),
    State(
        name="red-end-dialog", arrange=scenes.red_break, act=dialog("end-dialog"), dock="message"
    ),
)
FAMILIES = {
    "waiting": WAITING, "choosing": CHOOSING, "afterwards": AFTERWARDS, "trouble": TROUBLE,
    "red-team": RED_TEAM, "dialogs": DIALOGS,
}  # fmt: skip


def bring_about(state: State, page: Page, at: Scene) -> None:
    """The page in this state."""
    page.goto(at.path)
    dock(page, state.dock)
    if state.act:
        leave_box(page)
        state.act(page)
