"""Time at work: waiting for responses and skipped turns count, and each second counts once."""

import time

from comparisons.models import Assignment, Comparison
from tests.browser.scenes import scene
from tests.browser.steps import dock, leave_box, opened, press, say


def test_waiting_and_skipping_count_as_worked_time(visitor, site):
    site.engine.words, site.engine.words_per_second = 30, 15.0  # two seconds
    page = opened(visitor, scene())
    begun = time.monotonic()
    say(page, "One.")
    dock(page, "strip")
    leave_box(page)
    press(page, "f")
    page.locator("[name=kind]").first.check()
    page.locator("#flag-dialog .primary").click()
    page.locator("#flag-dialog").wait_for(state="hidden")
    press(page, "6", "Enter")
    dock(page, "message")
    chosen_after = 1000 * (time.monotonic() - begun)
    leave_box(page)
    say(page, "Two.")
    dock(page, "strip")
    leave_box(page)
    press(page, "s")
    dock(page, "message")
    page.locator("[data-open-dialog=end-dialog]:visible").first.click()
    page.locator("#end-dialog [name=rating]").first.check()
    wall = 1000 * (time.monotonic() - begun)
    page.locator("#end-dialog [value=stop]").click()
    page.wait_for_url("**/work/**")

    counted = Assignment.objects.get().active_milliseconds
    assert wall > 4000
    assert wall - 900 <= counted <= wall + 900
    assert Comparison.objects.get().active_milliseconds < chosen_after - 1500
