"""Every state of the conversation in both themes: axe, no sideways scroll, a low dock, right to left."""

import pytest
from playwright.sync_api import Page, expect

from comparisons import tasks
from tests.browser.recording import Recording
from tests.browser.scenes import nothing_to_compare, opinion
from tests.browser.states import FAMILIES, State, bring_about
from tests.comparisons.talking import Bell

WIDE, PHONE, NARROW, ZOOMED = (1280, 720), (360, 640), (320, 640), (640, 360)


@pytest.fixture(autouse=True)
def nothing_is_written(site, monkeypatch):
    """What stands in the rows stays there: no worker hears the bell."""
    monkeypatch.setattr(tasks, "fill_turn", Bell())


def faults_of_layout(page: Page, size: tuple[int, int]) -> list[str]:
    """What does not fit at this size."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    return page.evaluate(
        """size => {
            const found = [], root = document.documentElement;
            const over = root.scrollWidth - root.clientWidth;
            if (over > 0) found.push(`${over} px too wide at ${size}`);
            const dock = document.getElementById("dock");
            const isAtRisk = Boolean(dock?.querySelector("#dock-line.risk:not([hidden])"));
            const hasReason = Boolean(dock?.querySelector("#reason[open]"));
            const share = (dock?.getBoundingClientRect().height ?? 0) / 640;
            const most = isAtRisk ? 0.35 : 0.30;
            if (size[0] === 360 && !hasReason && share > most)
                found.push(`the dock takes ${Math.round(share * 100)} % of ${size}`);
            const cells = [...document.querySelectorAll(".cell")]
                .map(each => each.getBoundingClientRect()).filter(each => each.width);
            for (const cell of cells)
                if (cell.width < 24 || cell.height < 24) found.push(`a point of ${cell.width} px`);
            return found;
        }""",
        list(size),
    )


def look_at(page: Page, state_name: str, axe) -> list:
    """Both themes at a desk and on a phone, then the narrow and the zoomed window."""
    recording, found = Recording(f"states/{state_name}"), []
    for size, kind in ((WIDE, "wide"), (PHONE, "phone")):
        found += [(state_name, each) for each in faults_of_layout(page, size)]
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            is_new = (kind, theme) != ("phone", "dark")  # colours of the one, layout of the other
            seen = recording.step(page, f"{kind}-{theme}", axe=axe if is_new else None)
            found += [(state_name, kind, theme, each) for each in seen]
    for size in (NARROW, ZOOMED):
        found += [(state_name, each) for each in faults_of_layout(page, size)]
        recording.step(page, f"{size[0]}")
    return found


def seen_in(visitor, state: State, **more) -> Page:
    at = state.arrange()
    page = visitor.signed_in(at.person.account, **more)
    bring_about(state, page, at)
    return page


@pytest.mark.timeout(400)  # axe eighteen times
@pytest.mark.parametrize("family", FAMILIES)
def test_every_state_fits_and_satisfies_axe(visitor, family, axe):
    visitor.allowed = ("ERR_INTERNET_DISCONNECTED", "ERR_FAILED", "dialog: beforeunload")
    found = []
    for state in FAMILIES[family]:
        page = seen_in(visitor, state)
        found += look_at(page, state.name, axe)
        page.context.set_offline(False)
        page.context.close()

    assert found == []


@pytest.mark.parametrize("arrange", [opinion, nothing_to_compare])
def test_second_opinions_fit_and_satisfy_axe(visitor, arrange, axe):
    page = visitor.signed_in(arrange().person.account)
    page.goto("/opinions/")

    assert look_at(page, arrange.__name__, axe) == []


@pytest.mark.parametrize("family", ["choosing", "red-team"])
def test_states_fit_from_right_to_left(visitor, site, family):
    found = []
    for state in FAMILIES[family]:
        at = state.arrange()
        page = visitor.signed_in(at.person.account)
        page.context.add_cookies([{"name": "django_language", "value": "ar", "url": site.url}])
        bring_about(state, page, at)
        expect(page.locator("html")).to_have_attribute("dir", "rtl")
        recording = Recording(f"rtl/{state.name}")
        for size in (WIDE, PHONE, NARROW):
            found += [(state.name, each) for each in faults_of_layout(page, size)]
            recording.step(page, f"{size[0]}")
        page.context.close()

    assert found == []
