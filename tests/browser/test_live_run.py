"""A run's page that stays open while the run waits, goes on and ends: what can be done, and what is said of its curves."""

import pytest
from playwright.sync_api import expect

from tests.comparisons.making import make_account
from tests.training.making import make_release, write_starter
from training import leases, run_files
from training.models import TrainingRun
from training.services import RunRequest, start_run


@pytest.fixture
def run(settings, tmp_path) -> TrainingRun:
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")
    return start_run(RunRequest(kind="preference_model", release=make_release()), requested_by=None)


def test_a_page_that_stays_open_follows_the_run_to_its_end(visitor, run):
    page = visitor.signed_in(make_account("researcher"))
    page.goto(f"/lab/runs/{run.public_id}/")
    loss = page.locator('[data-curve="pm/loss"]')
    expect(loss).to_contain_text("No figures yet.")
    expect(loss).not_to_contain_text("reading its data")
    page.get_by_text("Stop…").click()

    claimed = leases.claim(run.pk, owner="tests")
    expect(loss).to_contain_text("The run is reading its data.")
    directory = run_files.directory_of(run)
    directory.mkdir(parents=True, exist_ok=True)
    metrics = directory / "metrics.jsonl"
    metrics.write_text('{"step": 1, "pm/loss": 0.7}\n{"step": 2, "pm/loss": 0.6}\n')
    expect(loss).to_contain_text("(2 points)")
    before = loss.bounding_box()

    expect(page.locator(".run-progress")).to_contain_text("running")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()  # still unfolded
    leases.end(claimed, state="stopped", reason="", checkpoint=None, results={})

    expect(page.locator(".run-progress")).to_contain_text("stopped")
    expect(page.locator("#stop-run")).to_have_count(0)
    assert before["height"] == loss.bounding_box()["height"] >= 280
