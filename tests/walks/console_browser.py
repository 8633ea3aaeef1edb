"""Chromium at the running product: one context per person, every complaint kept, screenshots of every step.

Knows pages as pictures and complaints; knows nothing of what a page is for.
"""

import re
import time
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Response

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run",
]  # fmt: skip
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
CUT_OFF = re.compile(
    r"ERR_(CONNECTION|EMPTY_RESPONSE|INCOMPLETE|NETWORK|SOCKET|FAILED)|status of 50[0-4]|Failed to fetch|htmx:(send|response)Error"
)


class Visitors:
    """The browser, and what its consoles complained of."""

    def __init__(self, playwright: Playwright, *, base_url: str, shots: Path) -> None:
        """Nobody visits yet."""
        self.browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        self.base_url, self.shots = base_url, shots
        self.complaints: list[str] = []
        self.cut_off: list[str] = []  # network errors while a process was dead
        self.pages_seen: set[str] = set()
        self.is_killing = False
        self.expected = ""  # a complaint that the step in hand brings about on purpose
        self.taken: list[str] = []
        shots.mkdir(parents=True, exist_ok=True)

    def visitor(self) -> Page:
        """A page in a context of its own."""
        context = self.browser.new_context(base_url=self.base_url, viewport=WIDE)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("response", self._response)
        page.on("request", lambda request: self._left(request.url))
        page.on("dialog", lambda dialog: dialog.accept())  # "leave this page?" at a reload
        return page

    def close(self) -> None:
        """Go away."""
        self.browser.close()

    def shot(self, page: Page, name: str, *, is_crowd: bool = False) -> list[str]:
        """The page in light and dark; a crowd page at 360 px too. Returns the files' names."""
        names = []
        if not is_crowd:
            page.evaluate("window.scrollTo(0, 0)")
        for size, suffix in [(WIDE, "")] + ([(NARROW, "-360")] if is_crowd else []):
            page.set_viewport_size(size)
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.wait_for_timeout(250)
                file = f"{name}{suffix}-{theme}.png"
                page.screenshot(
                    path=self.shots / file, full_page=not is_crowd, animations="disabled"
                )
                names.append(file)
            if suffix and page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            ):
                self._note(f"sideways scroll at 360 px: {page.url}")
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        self.taken += names
        return names

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._note(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _response(self, response: Response) -> None:
        if response.request.is_navigation_request():
            self.pages_seen.add(
                re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}", "…", response.url)
            )

    def _left(self, url: str) -> None:
        if not url.startswith((self.base_url, "data:", "blob:")):
            self._note(f"left the site: {url}")

    def _note(self, complaint: str) -> None:
        if self.expected and self.expected in complaint:
            return
        known = self.cut_off if self.is_killing and CUT_OFF.search(complaint) else self.complaints
        known.append(f"{time.strftime('%H:%M:%S')} {complaint}")
