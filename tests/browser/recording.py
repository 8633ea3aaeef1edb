"""Keeps what a run looked like: one picture a step and what axe found, when RECORD_TO names a folder.

Without it nothing is written. Knows pages and files, nothing of what a step means.
"""

import json
import os
from pathlib import Path

from playwright.sync_api import Page


class Recording:
    """The steps of one run in order."""

    def __init__(self, name: str) -> None:
        """A folder of its own below RECORD_TO, or nowhere."""
        folder = os.environ.get("RECORD_TO", "")
        self._folder = Path(folder) / name if folder else None
        self._steps: list[dict[str, object]] = []

    def step(self, page: Page, title: str, *, axe=None) -> list[tuple[str, str, list[str]]]:
        """Look at the page now; returns what axe found, when it was asked."""
        found = axe(page) if axe else []
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
            picture = f"{len(self._steps) + 1:02d}-{title}.png"
            page.screenshot(path=self._folder / picture, caret="initial")
            self._steps.append({
                "picture": picture, "address": page.url, "checked": axe is not None, "axe": found,
                "focus": page.evaluate("document.activeElement?.outerHTML.slice(0, 120) ?? ''"),
                "announced": page.evaluate(
                    "[...document.querySelectorAll('#announcer, #announcer-urgent')]"
                    ".map(each => each.textContent).filter(Boolean)"
                ),
            })  # fmt: skip
            report = json.dumps(self._steps, indent=1, ensure_ascii=False)
            (self._folder / "steps.json").write_text(report, encoding="utf-8")
        return found
