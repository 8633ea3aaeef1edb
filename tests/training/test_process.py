"""The worker's side of a run, with the real trainer on a tiny checkpoint: done, stopped, killed, taken over.

Each test starts `python -m training.core` for real and looks at rows and files afterwards.
"""

import json
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.models.functions import Now

from modelserving import registry
from modelserving.core.artifacts import content_hash, verify
from modelserving.models import Checkpoint
from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.making import make_release
from training import leases, process, run_files
from training.models import TrainingRun
from training.services import RunRequest, request_stop, start_run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]
State = TrainingRun.State
SHORT = {"epochs": "2", "checkpoint_every": "3"}
LONG = {"epochs": "4000", "checkpoint_every": "3"}
USUAL = {
    "batch_comparisons": "8",
    "max_tokens": "128",
    "micro_tokens": "512",
    "threads": "1",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("starter") / "tiny"
    make_tiny_language_model(directory)
    return directory


@pytest.fixture(autouse=True)
def starter(settings, tiny, monkeypatch):
    settings.STARTER_CHECKPOINT = tiny
    monkeypatch.setattr(process, "LOOK_EVERY", 0.1)
    process.shutting_down.clear()
    yield
    process.shutting_down.clear()


def begin(**overrides) -> TrainingRun:
    release = make_release(f"r{time.monotonic_ns()}")
    request = RunRequest(kind="preference_model", release=release, overrides=USUAL | overrides)
    return start_run(request, requested_by=None)


def in_background(run: TrainingRun) -> threading.Thread:
    """A worker in a thread of this process."""

    def work() -> None:
        process.execute(run.pk)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for(is_so, *, seconds: float = 300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def trainer_of(run: TrainingRun, *, after: int = 0) -> int:
    """The child's process id, once it has trained a step and there is a checkpoint; not the one before."""
    directory = run_files.directory_of(run)
    wait_for(lambda: (directory / "trainer.lock").exists() and holder_of(run) not in {0, after})
    wait_for(
        lambda: (
            run_files.read_object(directory / "progress.json").get("phase") == "training"
            and any((directory / "checkpoints").glob("step-*/manifest.json"))
        )
    )
    return holder_of(run)


def holder_of(run: TrainingRun) -> int:
    """The process id that the directory's lock names."""
    held = (run_files.directory_of(run) / "trainer.lock").read_text().split()
    return int(held[1]) if held else 0


def kill(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


def lapse(run: TrainingRun) -> None:
    """The lease ends, as it does 60 s after the last heartbeat."""
    TrainingRun.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_run_ends_with_a_registered_checkpoint_results_and_figures(capsys):
    make_release("r1")
    settings = [f"--set={key}={value}" for key, value in (USUAL | SHORT).items()]

    call_command("start_run", "preference_model", "--release=r1", "--here", "--json", *settings)
    outcome = json.loads(capsys.readouterr().out)
    run = TrainingRun.objects.get()
    process.execute(run.pk)  # the doorbell may ring again
    run.refresh_from_db()

    assert (run.state, run.reason, run.attempt, run.lease_owner) == (State.DONE, "", 1, "")
    assert (outcome["state"], outcome["checkpoint"]) == ("done", run.checkpoint.hash)
    checkpoint = run.checkpoint
    assert (checkpoint.kind, checkpoint.run) == ("preference_model", run.public_id)
    assert content_hash(verify(registry.directory_of(checkpoint))) == checkpoint.hash
    assert {"value", "low", "high", "n"} <= set(run.results["test_accuracy"])
    assert run.results == checkpoint.results
    assert run.progress["step"] == run.progress["total_steps"]
    directory = run_files.directory_of(run)
    inputs = json.loads((directory / "inputs.json").read_text())
    assert set(inputs) == {"release", "initial"}
    assert not any(Path(each["path"]).is_absolute() for each in inputs.values())
    assert (directory / "plots" / "calibration.svg").is_file()
    assert set(checkpoint.parents.all()) == {run.initial}


@pytest.mark.one_database
def test_two_models_on_disjoint_halves_are_both_registered():
    run = begin(disjoint_models="2", **SHORT)

    process.execute(run.pk)

    run.refresh_from_db()
    assert run.state == State.DONE
    test_pm, train_pm = Checkpoint.objects.filter(run=run.public_id).order_by("created_at")
    assert train_pm == run.checkpoint
    assert test_pm.name == f"{train_pm.name} (test PM)"
    assert test_pm.step < train_pm.step
    assert test_pm.results["test_pm_test_accuracy"] == run.results["test_pm_test_accuracy"]
    assert test_pm.kind == train_pm.kind == "preference_model"
    assert content_hash(verify(registry.directory_of(test_pm))) == test_pm.hash != train_pm.hash


@pytest.mark.one_database
def test_stop_ends_it_after_the_step_and_the_trainer_knew_no_secret(settings, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "canary-secret")
    monkeypatch.setenv("MODELSERVER_SECRET", "canary-modelserver")
    monkeypatch.setenv("DATABASE_URL", "canary-database")
    run = begin(**LONG)
    worker = in_background(run)
    pid = trainer_of(run)
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    niceness = os.getpriority(os.PRIO_PROCESS, pid)
    group = Path(f"/proc/{pid}/autogroup")
    session = group.read_text() if group.exists() else "nice 5"

    request_stop(run, actor=None)
    worker.join()
    run.refresh_from_db()

    assert run.state == State.STOPPED
    assert 0 < run.checkpoint.step < run.progress["total_steps"]
    assert b"canary" not in environment
    assert {b"OMP_NUM_THREADS=1", f"LABELAPP_VAR={settings.VAR}".encode()} <= {
        *environment.split(b"\0")
    }
    assert niceness >= 10
    assert session.split()[-2:] == ["nice", "5"]  # the session gives way too, where there are such


@pytest.mark.fault
def test_a_run_survives_a_killed_trainer_and_a_deploy_and_fails_at_last():
    run = begin(**LONG)
    directory = run_files.directory_of(run)

    worker = in_background(run)
    first = trainer_of(run)
    kill(first)
    worker.join()
    run.refresh_from_db()
    assert (run.state, run.attempt, run.max_attempts) == (State.QUEUED, 1, 5)
    assert run.reason.startswith("Attempt 1 broke off")

    worker = in_background(run)
    second = trainer_of(run, after=first)
    process.shutting_down.set()
    worker.join()
    run.refresh_from_db()
    assert (run.state, run.attempt, run.max_attempts) == (State.QUEUED, 2, 6)
    assert run.reason.startswith("Interrupted")
    assert is_gone(second)
    process.execute(run.pk)  # a worker that is ending takes nothing more
    process.shutting_down.clear()

    TrainingRun.objects.filter(pk=run.pk).update(max_attempts=3)
    worker = in_background(run)
    kill(trainer_of(run, after=second))
    worker.join()
    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.FAILED, 3)
    assert run.reason
    assert not Checkpoint.objects.filter(run=run.public_id).exists()
    rows, _ = run_files.rows_after(directory / "metrics.jsonl", limit=100_000)
    steps = [row["step"] for row in rows]
    assert steps == list(range(1, len(steps) + 1))  # each attempt went on; no step stands twice


@pytest.mark.fault
def test_the_next_attempt_ends_the_trainer_of_a_worker_that_hangs(monkeypatch):
    run = begin(**LONG)
    hangs, goes_on, real = threading.Event(), threading.Event(), leases.extend

    def extend(*args, **kwargs) -> bool:
        return not goes_on.wait(500) if hangs.is_set() else real(*args, **kwargs)

    monkeypatch.setattr(leases, "extend", extend)
    first_worker = in_background(run)
    first = trainer_of(run)
    hangs.set()
    time.sleep(1)  # its next heartbeat hangs, while its trainer goes on
    monkeypatch.setattr(leases, "extend", real)
    lapse(run)

    second_worker = in_background(run)
    wait_for(lambda: is_gone(first))
    second = trainer_of(run, after=first)
    goes_on.set()
    first_worker.join()
    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.RUNNING, 2)  # what the first one said did not count

    lapse(run)
    other = wait_for(lambda: leases.claim(run.pk, owner="other"))
    second_worker.join()
    run.refresh_from_db()
    assert is_gone(second)
    assert (other.attempt, run.lease_owner, run.state) == (3, "other", State.RUNNING)


@pytest.mark.one_database
def test_an_input_that_was_changed_fails_at_once_and_says_which():
    run = begin(**SHORT)
    weights = registry.directory_of(run.initial) / "model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")

    process.execute(run.pk)
    run.refresh_from_db()

    assert (run.state, run.attempt) == (State.FAILED, 1)
    assert "initial" in run.reason


def test_a_missing_input_fails_before_a_process_starts():
    run = begin(**SHORT)
    manifest = registry.directory_of(run.initial) / "manifest.json"
    manifest.chmod(0o600)
    manifest.unlink()

    process.execute(run.pk)
    run.refresh_from_db()

    assert run.state == State.FAILED
    assert "initial" in run.reason
    assert not (run_files.directory_of(run) / "output.txt").exists()


def test_the_command_refuses_with_one_line():
    with pytest.raises(CommandError, match="No release is called 'r9'"):
        call_command("start_run", "preference_model", "--release=r9")
