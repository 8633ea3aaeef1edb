"""Runs are listed, stopped and left alone from the command line."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.training.making import make_release, write_starter
from training.management.commands import start_run as start_run_command
from training.models import TrainingRun
from training.services import RunRequest, start_run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


@pytest.fixture
def run() -> TrainingRun:
    request = RunRequest(kind="preference_model", release=make_release(), name="first pm")
    return start_run(request, requested_by=None)


def test_runs_are_listed_newest_first(run, capsys):
    other = start_run(RunRequest(kind="language_model", release=run.release), requested_by=None)

    call_command("runs")
    lines = capsys.readouterr().out.splitlines()
    call_command("runs", kind="preference_model")
    (line,) = capsys.readouterr().out.splitlines()
    call_command("runs", state="failed")

    assert [each.split()[0] for each in lines] == [str(other.pk), str(run.pk)]
    assert str(run.public_id) in line
    assert "queued · first pm" in line
    assert "No run yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["number", "id", "beginning"])
def test_a_run_is_stopped_by_its_number_or_its_id(run, name, capsys):
    words = {
        "number": str(run.pk), "id": str(run.public_id), "beginning": str(run.public_id)[:13],
    }  # fmt: skip

    call_command("stop_run", words[name])

    run.refresh_from_db()
    assert run.state == TrainingRun.State.STOPPED  # it had not begun
    assert f"run {run.pk} (preference model): stopped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reference", "why"), [("nope", "no run is called so"), ("-", "no run is called so")]
)
def test_what_is_no_run_is_refused_with_those_that_go(run, reference, why):
    with pytest.raises(CommandError, match=why) as refused:
        call_command("stop_run", "--", reference)

    assert f"{run.pk} ({run.public_id})" in str(refused.value)


def test_an_interrupted_wait_says_how_to_stop_the_run(monkeypatch, capsys):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(start_run_command.time, "sleep", interrupt)
    release = make_release()

    with pytest.raises(SystemExit) as ended:
        call_command("start_run", "preference_model", release=release.name, wait=True)

    assert ended.value.code == 130
    run = TrainingRun.objects.get()
    assert f"manage stop_run {run.pk}" in capsys.readouterr().err
    assert run.state == TrainingRun.State.QUEUED
