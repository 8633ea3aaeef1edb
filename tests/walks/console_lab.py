"""A researcher and administrator at the console's pages: release, runs, deployments, trial, promotion, roll-back.

Knows addresses, forms and the words on the pages; each method does what a person does there.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from playwright.sync_api import Page

from tests.walks.console_browser import Visitors
from tests.walks.console_transcript import Transcript

OPEN = "document.querySelectorAll('{within} details').forEach((each) => {{ each.open = true; }})"
OVER = ("done", "stopped", "failed")


@dataclass(kw_only=True)
class Watched:
    """A run as its live page showed it."""

    public_id: str
    minutes: float = 0.0
    state: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    readouts: list[str] = field(default_factory=list)
    checkpoint: str = ""


class Lab:
    """One administrator's tab."""

    def __init__(self, visitors: Visitors, transcript: Transcript) -> None:
        """Not signed in."""
        self.page: Page = visitors.visitor()
        self.visitors, self.transcript = visitors, transcript
        self.password = ""

    def choose_password(self, password: str) -> None:
        """On the page that a first link leads to."""
        self.page.fill("[name=new_password]", password)
        self.page.click("main form .btn.primary")
        self.page.wait_for_url(lambda url: "/password" not in url)
        self.password = password

    def confirm(self) -> None:
        """The password again, before an act that asks for it: runs may have taken hours since."""
        self.page.goto("/confirm/")
        if self.page.locator("[name=confirming_password]").count():
            self.page.fill("[name=confirming_password]", self.password)
            self.page.click("main form .btn.primary")
            self.page.wait_for_url(lambda url: "/confirm" not in url)

    def shot(self, name: str) -> None:
        """Pictures of what is open, noted in the transcript."""
        names = self.visitors.shot(self.page, name)
        self.transcript.say(f"screenshots: {', '.join(names)}")

    def cut_release(self, name: str, *, test_percent: int) -> float:
        """Under Manage, Releases; returns the seconds until it is frozen."""
        self.confirm()
        self.page.goto("/manage/releases/new/")
        self.page.fill("[name=name]", name)
        self.page.fill("[name=test_percent]", str(test_percent))
        self.shot("03-new-release")
        began = time.monotonic()
        self.page.click("main form .btn.primary")
        self.page.wait_for_selector("#release-state td >> text=not made", timeout=300_000)
        seconds = time.monotonic() - began
        self.shot("04-release")
        return seconds

    def start_run(
        self,
        kind: str,
        *,
        release: str,
        settings: Mapping[str, object],
        shot: str,
        ranker: str = "",
    ) -> Watched:
        """By the New-run form; ends on the run's live page."""
        self.page.goto("/lab/runs/")
        self.page.select_option("form[action$='new/'] [name=kind]", kind)
        self.page.click("[data-new-run]")
        self.page.wait_for_url("**/runs/new/**")
        self._select("release", release)
        if ranker:
            self._select("ranker", ranker)
        if settings:
            self.page.evaluate(OPEN.format(within="main form"))
            for key, value in settings.items():
                self._set(key, str(value))
        self.shot(f"{shot}-new-run")
        self.page.click("main form .btn.primary")
        self.page.wait_for_url(re.compile(r"/lab/runs/[0-9a-f-]{36}/"))
        return Watched(public_id=self.page.url.rstrip("/").rsplit("/", 1)[1])

    def _set(self, key: str, value: str) -> None:
        field = self.page.locator(f"[name='set:{key}']")
        if field.evaluate("each => each.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)

    def wait_for_step(self, *, step: int, within: float = 300) -> None:
        """Until the live page draws a point at this step."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self.state() not in OVER:
            found = re.search(r"step (\d+) of", self.line())
            if found and int(found[1]) >= step:
                return
            self.page.wait_for_timeout(500)

    def watch(self, run: Watched, *, began: float, shot: str, within: float = 3600) -> None:
        """Follow the live page to the run's end; note its line every half minute."""
        said, deadline, has_middle = 0.0, time.monotonic() + within, False
        while self.state() not in OVER:
            assert time.monotonic() < deadline, f"run {run.public_id} took longer than {within:g} s"
            if time.monotonic() - said > 30:
                said = time.monotonic()
                self.transcript.say(f"live page: {self.line()}")
            if not has_middle and self.page.locator(".curves svg").count() >= 2:
                self.shot(f"{shot}-live")
                has_middle = True
            self.page.wait_for_timeout(1000)
        run.minutes = (time.monotonic() - began) / 60
        run.state = self.state()
        run.readouts = [each for each in self.page.locator(".readout").all_inner_texts() if each]
        self.page.goto(f"/lab/runs/{run.public_id}/")
        self.page.wait_for_function(
            "() => document.querySelectorAll('.curves svg').length >= 1", timeout=30_000
        )
        run.facts = self.facts()
        link = self.page.locator("#run-state a.btn.primary")
        if link.count():
            run.checkpoint = (link.get_attribute("href") or "").rstrip("/").rsplit("/", 1)[1]
        self.page.evaluate(OPEN.format(within="main section"))
        self._load_lazy_images()
        self.shot(f"{shot}-done")

    def facts(self) -> dict[str, str]:
        """The definition list on top of a page."""
        terms = self.page.locator("dl.facts").first.locator("dt").all_inner_texts()
        texts = self.page.locator("dl.facts").first.locator("dd").all_inner_texts()
        return {term: re.sub(r"\s+", " ", text) for term, text in zip(terms, texts, strict=True)}

    def line(self) -> str:
        """The live state line in one line."""
        return re.sub(r"\s+", " ", self.page.locator(".run-progress").inner_text()).strip()

    def state(self) -> str:
        """queued, running, done, stopped or failed."""
        return re.split(r"[\s:]", self.line() or "unknown")[0]

    def make_deployment(
        self,
        checkpoint: str,
        *,
        name: str,
        shot: str,
        max_new_tokens: int,
        ranker: str = "",
        best_of: int = 1,
    ) -> None:
        """On the checkpoint's page."""
        self.page.goto(f"/lab/checkpoints/{checkpoint}/")
        form = self.page.locator("form[action$=deploy]")
        if not form.is_visible():
            self.page.click("details:has(form[action$=deploy]) > summary")
        form.locator("[name=name]").fill(name)
        form.locator("[name=temperature]").fill("0.8")
        form.locator("[name=max_new_tokens]").fill(str(max_new_tokens))
        if ranker:
            self._select("ranker", ranker)
            form.locator("[name=best_of]").fill(str(best_of))
        self.shot(f"{shot}-new-deployment")
        form.locator("button").click()
        self.page.wait_for_selector(f".card h3 >> text={name}")
        self.shot(f"{shot}-checkpoint")

    def put_on_trial(
        self, checkpoint: str, *, name: str, slot: str, traffic: int, shot: str
    ) -> float:
        """On the checkpoint's page; returns the seconds that it took."""
        self.confirm()
        self.page.goto(f"/lab/checkpoints/{checkpoint}/")
        card = self.page.locator(".card", has=self.page.locator("h3", has_text=name))
        card.locator("[name=slot]").select_option(label=slot)
        card.locator("[name=traffic]").fill(str(traffic))
        card.locator("[name=reason]").fill("the console walk")
        began = time.monotonic()
        card.locator("button").click()
        self.page.wait_for_url("**/lab/slots/**", timeout=120_000)
        seconds = time.monotonic() - began
        assert f"{name} is on trial" in self.page.inner_text("main"), self.page.inner_text("main")
        self.shot(shot)
        return seconds

    def promote(self, *, name: str, slot: str, reason: str, shot: str) -> str:
        """The evidence first; returns what it said and whether it was passed over."""
        self.confirm()
        self._open_slot(slot)
        self.page.locator("tr", has_text=name).locator("a", has_text="Promote").first.click()
        self.page.wait_for_url("**/promote/**")
        said = "; ".join(
            re.sub(r"\s+", " ", row) for row in self.page.locator("tbody tr").all_inner_texts()
        )
        self.page.fill("[name=reason]", reason)
        box = self.page.locator("[name=is_forced]")
        is_forced = box.count() > 0
        self.shot(f"{shot}-evidence")
        if is_forced:
            self._expect_refusal()
            self.page.fill("[name=reason]", reason)
            self.page.check("[name=is_forced]")
        self.page.click("main form .btn.primary")
        self.page.wait_for_url(re.compile(r"/lab/slots/\d+/$"), timeout=120_000)
        self.shot(f"{shot}-promoted")
        return f"{said} → {'promoted anyway, with the reason' if is_forced else 'promoted on the evidence'}"

    def _expect_refusal(self) -> None:
        """Without the tick, evidence that is not met refuses."""
        self.visitors.expected = "status of 409"
        self.page.click("main form .btn.primary")
        self.page.wait_for_selector("[role=alert].error")
        refusal = self.page.inner_text("[role=alert].error")
        self.transcript.say(f"without the tick it was refused: “{refusal}”")
        self.page.wait_for_timeout(500)
        self.visitors.expected = ""

    def roll_back(self, *, slot: str, shot: str) -> None:
        """One click, and its page."""
        self.confirm()
        self._open_slot(slot)
        self.page.click(".page-head a.btn")
        self.page.fill("[name=reason]", "the console walk goes back")
        self.shot(f"{shot}-roll-back")
        self.page.click("main form .btn.primary")
        self.page.wait_for_url(re.compile(r"/lab/slots/\d+/$"))
        self.shot(f"{shot}-rolled-back")

    def places(self, slot: str) -> list[str]:
        """The slot's table, a line per deployment."""
        self._open_slot(slot)
        rows = self.page.locator("main section table").first.locator("tbody tr").all_inner_texts()
        return [re.sub(r"\s+", " ", row).strip() for row in rows]

    def look_at(self, pages: Mapping[str, str], *, then: Callable[[], None] | None = None) -> None:
        """Open each address and take its pictures."""
        for name, address in pages.items():
            self.page.goto(address)
            self._load_lazy_images()
            self.shot(name)
            if then:
                then()

    def _open_slot(self, slot: str) -> None:
        self.page.goto("/lab/slots/")
        self.page.locator("section.card h2 a", has_text=slot).first.click()
        self.page.wait_for_url(re.compile(r"/lab/slots/\d+/"))

    def _select(self, field_name: str, text: str) -> None:
        options = self.page.locator(f"select[name={field_name}] option")
        values = {each.inner_text(): each.get_attribute("value") for each in options.all()}
        value = next(v for label, v in values.items() if text in label)
        self.page.select_option(f"select[name={field_name}]", value)

    def _load_lazy_images(self) -> None:
        for image in self.page.locator("img[loading=lazy]").all():
            image.scroll_into_view_if_needed()
        self.page.wait_for_function("() => [...document.images].every((image) => image.complete)")
        self.page.evaluate("window.scrollTo(0, 0)")
