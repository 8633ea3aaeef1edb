"""Runs that found too little disk or memory, or an input gone, wait without losing a try; what a release lost meanwhile is heeded."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.utils import timezone

from comparisons.models import DatasetRelease
from modelserving import registry
from tests.training.making import make_release, write_starter
from training import process, run_files
from training.models import TrainingRun
from training.services import RunRequest, start_run, words_of_stale

pytestmark = pytest.mark.django_db(transaction=True)
State = TrainingRun.State


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")
    process.shutting_down.clear()


def begin() -> TrainingRun:
    request = RunRequest(kind="preference_model", release=make_release("r1"))
    return start_run(request, requested_by=None)


@pytest.mark.parametrize(("is_stop_requested", "ends"), [(False, "QUEUED"), (True, "STOPPED")])
def test_a_run_that_falls_short_of_room_waits_unless_it_was_to_stop(
    monkeypatch, is_stop_requested, ends
):
    run = begin()
    TrainingRun.objects.filter(pk=run.pk).update(is_stop_requested=is_stop_requested)

    def fall_short(path: Path, **_: object) -> subprocess.Popen[bytes]:
        (path / "status.json").write_text('{"state": "failed", "reason": "free 5 MB more"}')
        return subprocess.Popen([sys.executable, "-c", f"exit({process.FELL_SHORT})"])

    monkeypatch.setattr(process, "_start", fall_short)
    process.execute(run.pk)
    run.refresh_from_db()

    assert (run.state, run.attempt) == (State[ends], 1)
    assert "free 5 MB more" in run.reason
    if ends == "QUEUED":
        assert run.max_attempts == 6  # it did not count
        assert run.lease_until > timezone.now()


def test_an_input_that_went_away_after_an_attempt_is_waited_for():
    run = begin()
    TrainingRun.objects.filter(pk=run.pk).update(attempt=1)
    directory = registry.directory_of(run.initial)
    directory.rename(directory.with_name("away"))

    process.execute(run.pk)
    run.refresh_from_db()

    assert (run.state, run.attempt) == (State.QUEUED, 2)
    assert run.reason.startswith("It waits")


def test_a_release_that_lost_something_while_the_run_waited_is_not_trained_on():
    run = begin()
    DatasetRelease.objects.update(stale_at=timezone.now())

    process.execute(run.pk)

    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.FAILED, 1)
    assert run.reason == words_of_stale(run.release)
    assert not run_files.directory_of(run).exists()


def test_a_run_that_began_before_its_release_lost_something_goes_on(monkeypatch):
    run = begin()
    TrainingRun.objects.filter(pk=run.pk).update(attempt=1)
    DatasetRelease.objects.update(stale_at=timezone.now())
    begun = []
    monkeypatch.setattr(process, "_start", lambda path, **_: begun.append(path) or _over())

    process.execute(run.pk)

    assert begun == [run_files.directory_of(run)]


def _over() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", f"exit({process.REFUSED})"])
