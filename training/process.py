"""Supervise one trainer process for one claimed run, and turn its end into facts.

Knows the row, the run directory and the child; knows nothing of what is being trained.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import OperationalError, close_old_connections

from modelserving import registry
from modelserving.core.faults import hit
from modelserving.models import Checkpoint
from training import leases, run_files, services
from training.models import TrainingRun
from training.report import plots

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two looks at the child
GRACE = 60.0  # seconds a child has to save its state after SIGTERM
REFUSED, NON_FINITE, FELL_SHORT = 2, 3, 4  # exit codes of training.core
ROOM_WITHIN = timedelta(
    minutes=1
)  # a run that fell short of disk or memory is tried again after that
BUSY = 75  # exit code of training.child: an earlier attempt's trainer still holds the directory
KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "RLHF_FAULTS",
)

shutting_down = threading.Event()  # set when the worker was asked to end


def execute(run_id: int) -> None:
    """Claim the run, train it in a child process to an end, and store that end."""
    if shutting_down.is_set():
        return
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    run = leases.claim(run_id, owner=owner)
    if run is None:
        return
    try:
        if run.attempt == 1:  # it may have waited for days; one that has begun goes on
            services.check_release(run.release, kind=run.kind)
        path = run_files.prepare(run)
    except (services.RunRefused, run_files.InputMissing, OSError) as refused:
        if run.attempt > 1:  # it was there before, and may come back
            _wait_for_room(run, lack=str(refused))
        else:
            leases.end(run, state=TrainingRun.State.FAILED, reason=str(refused))
        return
    logger.info("run %s: attempt %s", run.pk, run.attempt)
    child = _start(path, config=run.config)
    try:
        is_ours = _watch(run, child=child, path=path)
    except BaseException:
        _kill(child)
        raise
    if not is_ours:
        logger.warning("run %s was taken over by another worker", run.pk)
        return
    _conclude(run, code=child.returncode, path=path)


def _start(path: Path, *, config: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    environment = trainer_environment(config)
    with (path / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "training.child", str(os.getpid()), str(path)],
            cwd=settings.BASE_DIR, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def trainer_environment(config: Mapping[str, Any]) -> dict[str, str]:
    """What the trainer may know: no secret, but for one that samples on a model server of ours."""
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment |= {
        "LABELAPP_VAR": str(settings.VAR),  # where native code is compiled to
        "OMP_NUM_THREADS": str(config.get("threads", 1)),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    ours = {url.rstrip("/") for url in settings.MODELSERVER_URLS}
    if str(config.get("rollout_endpoint", "")).rstrip("/") in ours:  # no other address may learn it
        environment["MODELSERVER_SECRET"] = settings.MODELSERVER_SECRET
    return environment


def _watch(run: TrainingRun, *, child: subprocess.Popen[bytes], path: Path) -> bool:
    """Heartbeat until the child ends. False when the run was taken over; the child is dead then."""
    last_kept = time.monotonic()
    terminated_at = None
    while child.poll() is None:
        if shutting_down.is_set() and terminated_at is None:
            child.send_signal(signal.SIGTERM)
            terminated_at = time.monotonic()
        if terminated_at is not None and time.monotonic() - terminated_at > GRACE:
            _kill(child)
            break
        try:
            close_old_connections()
            if not leases.extend(run, progress=run_files.read_object(path / "progress.json")):
                _kill(child)
                return False
            last_kept = time.monotonic()
            if TrainingRun.objects.filter(pk=run.pk, is_stop_requested=True).exists():
                run_files.ask_to_stop(path)
        except OperationalError:  # the database is away: go on until the lease would be over
            if time.monotonic() - last_kept > leases.LEASE.total_seconds() * 0.8:
                _kill(child)
                raise
        _wait(child)
    return True


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(timeout=LOOK_EVERY)
    except subprocess.TimeoutExpired:
        return


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _conclude(run: TrainingRun, *, code: int, path: Path) -> None:
    """One fenced update says how the attempt ended."""
    hit("run.before_conclude")
    status = run_files.read_object(path / "status.json")
    reason = str(status.get("reason", ""))
    state = status.get("state")
    if code in {REFUSED, NON_FINITE}:
        leases.end(
            run,
            state=TrainingRun.State.FAILED,
            reason=reason or _last_words(path),
            **_kept(path, status),
        )
    elif code == FELL_SHORT:
        _wait_for_room(run, lack=reason)
    elif code == BUSY:
        leases.give_back(
            run,
            reason="An earlier attempt's trainer is still there; it goes on when that ends.",
            counts=False,
        )
    elif (code == 0 and state == "interrupted") or (code != 0 and shutting_down.is_set()):
        leases.give_back(
            run, reason="Interrupted; it goes on from its last checkpoint.", counts=False
        )
    elif code == 0 and state in {"done", "stopped"}:
        _finish(run, status=status, path=path)
    elif run.attempt < run.max_attempts:
        leases.give_back(
            run,
            reason=f"Attempt {run.attempt} broke off: {reason or _last_words(path)}",
            counts=True,
        )
    else:
        leases.end(
            run,
            state=TrainingRun.State.FAILED,
            reason=reason or _last_words(path),
            **_kept(path, status),
        )


def _wait_for_room(run: TrainingRun, *, lack: str) -> None:
    """Try again later, unless somebody asked the run to stop."""
    run.refresh_from_db(fields=["is_stop_requested"])
    if run.is_stop_requested:
        leases.end(run, state=TrainingRun.State.STOPPED, reason=lack)
        return
    reason = f"It waits, and goes on from its last checkpoint: {lack}"
    leases.give_back(run, reason=reason, counts=False, wait=ROOM_WITHIN)


def _finish(run: TrainingRun, *, status: dict[str, Any], path: Path) -> None:
    """Register what was trained, then say done."""
    results = dict(status.get("results", {}))
    with leases.kept(run) as is_ours:  # hashing large weights takes longer than a lease
        if not is_ours:
            return
        try:
            checkpoint = _register(run, status=status, path=path, results=results)
        except registry.CheckpointNotRegistered as refused:
            leases.end(run, state=TrainingRun.State.FAILED, reason=str(refused), results=results)
            return
    hit("run.after_register")
    state = TrainingRun.State.DONE if status["state"] == "done" else TrainingRun.State.STOPPED
    leases.end(
        run, state=state, reason=str(status.get("reason", "")), results=results, checkpoint=checkpoint,
        progress=run_files.read_object(path / "progress.json"),
    )  # fmt: skip
    _draw(run, path=path)


TEST_PM = "test_pm_checkpoint"  # of a run that trains two models on disjoint halves


def _register(
    run: TrainingRun, *, status: dict[str, Any], path: Path, results: dict[str, Any]
) -> Checkpoint | None:
    if not status.get("checkpoint"):
        return None
    name = run.name or f"{run.get_kind_display()} {run.pk}"
    if (
        TEST_PM in results
    ):  # before the other: the newest preference model is the one that policies train against
        directory = path / str(results[TEST_PM])
        own = {key: value for key, value in results.items() if key.startswith("test_pm_")}
        registry.register_checkpoint(
            directory, name=f"{name} (test PM)", origin=Checkpoint.Origin.TRAINED,
            run=run.public_id, step=int(directory.name.rpartition("-")[2]), results=own,
        )  # fmt: skip
    return registry.register_checkpoint(
        path / str(status["checkpoint"]), name=name,
        origin=Checkpoint.Origin.TRAINED, run=run.public_id, step=int(status["step"]), results=results,
    )  # fmt: skip


def _draw(run: TrainingRun, *, path: Path) -> None:
    """Keep the figures beside the rows; they can be drawn again, so failing at it fails nothing."""
    try:
        plots.draw_all(run.kind, directory=path)
    except Exception:  # process boundary: the run is done, whatever a figure says
        logger.exception("run %s: its figures could not be drawn", run.pk)


def _kept(path: Path, status: dict[str, Any]) -> dict[str, Any]:
    return {
        "results": dict(status.get("results", {})),
        "progress": run_files.read_object(path / "progress.json"),
    }


def _last_words(path: Path) -> str:
    """The last line the child printed: what it died of, as far as it could say."""
    printed = [line for line in run_files.tail(path / "output.txt", lines=20) if line.strip()]
    return (
        printed[-1][:400] if printed else "the trainer ended without a word; was it out of memory?"
    )
