"""A crowdworker at the conversation page: sends, waits, reloads, chooses, and remembers what was acknowledged.

Knows the page's parts as a person does; the database is somebody else's business.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Page

from tests.walks.console_browser import Visitors

PATIENCE = 180_000  # milliseconds for a turn, deaths included
MESSAGES = (
    "Hello! How are you today?", "What is a good name for a cat?", "Tell me a short story about a dog.",
    "How do I make a cup of tea?", "What should I cook for dinner?", "Can you tell me a joke?",
    "How can I sleep better?", "What do you like to read?", "Give me three tips for a job interview.",
    "What is the capital of France?", "How do I grow tomatoes?", "Write a birthday card for my sister.",
    "Why is the sky blue?", "How do I learn to play the guitar?", "What can I do on a rainy day?",
    "Help me write an email to my teacher.",
)  # fmt: skip
WATCH = """() => {
  const seen = { sent: performance.now(), A: null, B: null };
  window.walkFirstWords = seen;
  document.addEventListener("submit", () => { seen.sent = performance.now(); }, { capture: true, once: true });
  const look = () => {
    const turn = document.querySelector("#turns > section:last-child");
    for (const side of ["A", "B"]) {
      const card = turn?.querySelector(`[data-side="${side}"]`);
      const box = card?.querySelector("[data-stream-text], [data-text]");
      if (seen[side] === null && box?.textContent.trim()) seen[side] = performance.now() - seen.sent;
    }
  };
  new MutationObserver(look).observe(document.getElementById("stage"), { subtree: true, childList: true, characterData: true });
}"""
HAS_WORDS = """() => { const seen = window.walkFirstWords;
  return (seen.A !== null || seen.B !== null) || document.getElementById("dock").dataset.dock === "strip"; }"""
HAS_BOTH = (
    """() => { const seen = window.walkFirstWords; return seen.A !== null && seen.B !== null; }"""
)
STREAMED = """() => Object.fromEntries([...document.querySelectorAll("#turns > section:last-child [data-side]")].map(
  (card) => [card.dataset.side, (card.querySelector("[data-stream-text]")?.textContent ?? "")]))"""


@dataclass(kw_only=True)
class Turn:
    """What the person saw and did in one turn; `choice` is set when the page said it was stored."""

    turn: str
    conversation: str
    message: str
    when: str
    first_words: dict[str, float] = field(default_factory=dict)  # seconds from Send, by side
    was_writing: bool = False  # something happened while it was being written
    before_reload: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)  # of the texts that stood there
    choice: int = 0
    seconds: float = 0.0


class CrowdPage:
    """One crowdworker's tab."""

    def __init__(self, visitors: Visitors, *, seed: int = 0) -> None:
        """Not signed in."""
        self.page: Page = visitors.visitor()
        self.visitors = visitors
        self.history: list[Turn] = []
        self.draw = random.Random(seed)
        self.turns_here = self.sent = 0

    def sign_in(self, username: str, password: str) -> None:
        """Through the form."""
        self.page.goto("/sign-in/")
        self.page.fill("[name=username]", username)
        self.page.fill("[name=password]", password)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lambda url: "/sign-in" not in url)

    def begin(self, slug: str = "helpful") -> None:
        """Into a conversation of the campaign, consenting where asked."""
        self.page.goto(f"/work/{slug}/")
        self.page.click("main form[action$=start] button")
        self.page.wait_for_load_state()
        if "/conversations/" not in self.page.url:
            self.visitors.shot(self.page, "02-consent", is_crowd=True)
            self.page.check("[name=has_read]")
            self.page.click("main form[action$=consent] button")
        self.page.wait_for_url("**/conversations/**")
        self.turns_here = 0

    def finish(self) -> None:
        """End this conversation through its dialog."""
        self.page.locator("[data-open-dialog=end-dialog]:visible").first.click()
        self.page.check("#end-dialog [name=rating][value='3']")
        self.page.click("#end-dialog [name=then][value=stop]")
        self.page.wait_for_url("**/work/**")

    def take_turn(
        self, *, when: str, has_reload: bool = False, while_writing: Callable[[], None] | None = None,
        at_choice: Callable[[], None] | None = None, shot: str = "", most_turns: int = 4,
    ) -> Turn:  # fmt: skip
        """A message, two responses, a choice; a new conversation after some turns."""
        if self.turns_here >= most_turns:
            self.finish()
            self.begin()
        began = time.monotonic()
        turn = self._send(when=when, while_writing=while_writing)
        if shot:
            self.visitors.shot(self.page, f"{shot}-streaming", is_crowd=True)
        if has_reload:
            turn.before_reload = self.page.evaluate(STREAMED)
            self.page.reload()
        self._wait_for_strip()
        self._read_sides(turn)
        if shot:
            self.visitors.shot(self.page, f"{shot}-strip", is_crowd=True)
        self._choose(turn, at_choice=at_choice)
        turn.seconds = time.monotonic() - began
        self.turns_here += 1
        return turn

    def _send(self, *, when: str, while_writing: Callable[[], None] | None) -> Turn:
        message = MESSAGES[self.sent % len(MESSAGES)]
        self.sent += 1
        before = self.page.locator("#turns > section[data-turn]").count()
        self.page.fill("#message", message)
        self.page.evaluate(WATCH)
        self.page.click("#dock [data-action=send]", no_wait_after=True)
        self.page.wait_for_function(HAS_WORDS, timeout=PATIENCE)
        is_writing = self.page.locator("#dock").get_attribute("data-dock") != "strip"
        if while_writing:
            while_writing()
        else:
            self.page.wait_for_function(HAS_BOTH, timeout=PATIENCE)
        seen = self.page.evaluate("window.walkFirstWords")
        sections = self.page.locator("#turns > section[data-turn]")
        assert sections.count() == before + 1, "one message, one turn"
        return Turn(
            turn=sections.last.get_attribute("data-turn") or "",
            conversation=self.page.url.rstrip("/").rsplit("/", 1)[1],
            message=message,
            when=when,
            first_words={side: seen[side] / 1000 for side in "AB" if seen[side] is not None},
            was_writing=is_writing,
        )

    def _wait_for_strip(self) -> None:
        self.page.wait_for_function(
            "() => ['strip', 'failed'].includes(document.getElementById('dock').dataset.dock)", timeout=PATIENCE
        )  # fmt: skip
        while self.page.locator("#dock").get_attribute("data-dock") == "failed":
            self.page.locator("form[data-send=retry] button").first.click()
            self.page.wait_for_function(
                "() => document.getElementById('dock').dataset.dock === 'strip'", timeout=PATIENCE
            )

    def _read_sides(self, turn: Turn) -> None:
        for side in "AB":
            field_ = self.page.locator(f"#dock [name=sha256_{side.lower()}]")
            turn.sha256[side] = field_.get_attribute("value") or ""

    def _choose(self, turn: Turn, *, at_choice: Callable[[], None] | None) -> None:
        point = self.draw.choice((1, 2, 3, 6, 7, 8))
        self.page.locator(f"#dock input[name=point][value='{point}']").check(force=True)
        self.page.click("#dock [data-choose]", no_wait_after=True)
        if at_choice:
            at_choice()
        chosen = f"#turns > section[data-turn='{turn.turn}'][data-state=chosen]"
        self.page.wait_for_selector(chosen, state="attached", timeout=PATIENCE)
        self.page.wait_for_selector("#dock[data-dock=message]", state="attached", timeout=PATIENCE)
        turn.choice = point
        self.history.append(turn)
