"""A real browser at a real server: uvicorn, Redis and a fake engine in this process, Chromium beside it.

Knows how to start and stop them; knows nothing of what a page should show.
"""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import uvicorn
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from comparisons import tasks
from comparisons.models import Account
from comparisons.services import generating
from tests.browser.proxy import Proxy
from tests.comparisons.making import PASSWORD
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import serving

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run",
]  # fmt: skip
expect.set_options(timeout=15_000)  # a busy machine takes longer, what is right stays right
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def pytest_collection_modifyitems(items) -> None:
    """Mark what drives a browser; say loudly when there is none."""
    here = Path(__file__).parent
    missing = pytest.mark.skip(reason=f"NO BROWSER: {CHROMIUM} is not installed, nothing was tried")
    for item in items:
        if not Path(item.path).is_relative_to(here):
            continue
        item.add_marker(pytest.mark.browser)
        # WhiteNoise hands files to ASGI as plain iterators
        item.add_marker(pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"))
        if not shutil.which(CHROMIUM):
            item.add_marker(missing)


@dataclass
class Site:
    """The running product: where it is and what answers."""

    url: str
    engine: FakeEngine
    pool: ThreadPoolExecutor
    rings: list[int] = field(default_factory=list)

    def apply_async(self, *, kwargs: dict[str, int], **_options: object) -> None:
        """The generation queue, in threads of this process."""
        turn_id = kwargs["turn_id"]
        self.rings.append(turn_id)
        self.pool.submit(_fill, turn_id)


def _fill(turn_id: int) -> None:
    try:
        generating.fill_turn(turn_id)
    finally:
        connections.close_all()


@pytest.fixture
def site(transactional_db, redis_url, settings, monkeypatch) -> Iterator[Site]:
    """Everything but the browser, gone afterwards."""
    engine = FakeEngine(words=25, words_per_second=60.0)
    listening = socket.socket()  # held from here on: others look for free ports meanwhile
    listening.bind(("127.0.0.1", 0))
    settings.PUBLIC_URL = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with closing(listening), serving(settings, engine), ThreadPoolExecutor(8) as pool:
        running = Site(url=settings.PUBLIC_URL, engine=engine, pool=pool)
        monkeypatch.setattr(tasks, "fill_turn", running)
        from labelapp.asgi import application

        config = uvicorn.Config(application, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        _wait(lambda: server.started)
        yield running
        server.should_exit = server.force_exit = True
        thread.join(10)


def _wait(is_true, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not start")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the session."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """Opens pages and keeps every complaint of the console and every request that leaves the site."""

    def __init__(self, browser: Browser, site: Site) -> None:
        """No page is open."""
        self._browser, self._site = browser, site
        self.contexts: list = []
        self.complaints: list[str] = []
        self.allowed: tuple[str, ...] = ()

    def page(
        self, account: Account | None = None, *, size=(1280, 720), theme="light", **more
    ) -> Page:
        """A page in a context of its own, signed in when an account is given."""
        context = self._browser.new_context(
            base_url=self._site.url, viewport={"width": size[0], "height": size[1]},
            color_scheme=theme, **more,
        )  # fmt: skip
        self.contexts.append(context)
        page = self.tab(context)
        if account is not None:
            page.goto("/sign-in/")
            page.fill("[name=username]", account.username)
            page.fill("[name=password]", PASSWORD)
            page.keyboard.press("Enter")
            page.wait_for_url(f"{self._site.url}/")
        return page

    def signed_in(self, account: Account, **more) -> Page:
        """A page of somebody who signed in before: the cookie without the form."""
        client = Client()
        client.force_login(account)
        page = self.page(**more)
        value = client.cookies["sessionid"].value
        page.context.add_cookies(
            [{"name": "sessionid", "value": value, "url": self._site.url, "httpOnly": True}]
        )
        return page

    def tab(self, context) -> Page:
        """Another tab of the same person."""
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("dialog", lambda dialog: (self._note(f"dialog: {dialog.type}"), dialog.accept()))
        return page

    def _console(self, message) -> None:
        if message.type in {"error", "warning"}:
            self._note(f"{message.type}: {message.text}")

    def _request(self, request) -> None:
        if not request.url.startswith((self._site.url, "data:", "blob:")):
            self._note(f"left the site: {request.url}")

    def _note(self, complaint: str) -> None:
        if not any(each in complaint for each in self.allowed):
            self.complaints.append(complaint)


@pytest.fixture
def visitor(chromium, site) -> Iterator[Visitor]:
    """A visitor whose console stays silent to the end."""
    visitor = Visitor(chromium, site)
    yield visitor
    for context in visitor.contexts:
        context.close()
    assert visitor.complaints == []


@pytest.fixture
def proxy(site):
    """Between the browser and the product: keeps every byte, fails as told."""
    host, port = site.url.removeprefix("http://").split(":")
    with Proxy((host, int(port))).running() as proxy:
        yield proxy


@pytest.fixture
def away(chromium, site, proxy):
    """A visitor whose every byte goes through the proxy."""
    visitor = Visitor(chromium, replace(site, url=proxy.url))
    visitor.allowed = ("ERR_", "net::")
    yield visitor
    for context in visitor.contexts:
        context.close()
    assert visitor.complaints == []


@pytest.fixture
def axe():
    """What axe finds on a page, as (rule, impact, where)."""
    source = AXE.read_text()

    def run(page: Page) -> list[tuple[str, str, list[str]]]:
        if not page.evaluate("Boolean(window.axe)"):
            page.evaluate(source + ";0")  # through the debugger: the page's CSP stays as it is
        page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            (each["id"], each["impact"], [node["html"][:120] for node in each["nodes"]][:3])
            for each in found["violations"]
        ]

    return run
