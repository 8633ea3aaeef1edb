"""Kill a run for real, with SIGKILL, at a step that the test chooses; knows no run kind.

The process is forked from one that has read torch, which a new one takes seconds for.
"""

import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["training.core.__main__", "training.core.ppo_training", "training.core.preference_training",
     "training.core.best_of_k", "training.core.language_model_training"]
)  # fmt: skip
LONGEST = 100  # seconds


def kill_at(path: Path, *, step: int) -> None:
    """Start the run as a process of its own that dies of SIGKILL right after it wrote the metrics of a step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # torch reads it in the server, when that starts
        forkserver.ensure_running()
    said = path.with_name(f"{path.name}.said")
    process = FORKS.Process(target=_run_until, args=(str(path), step, str(said)))
    process.start()
    process.join(LONGEST)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, said.read_text()
    assert "\ndying" in said.read_text(), said.read_text()


def _run_until(path: str, last: int, said: str) -> None:
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    from training.core.__main__ import run
    from training.core.run_directory import RunDirectory

    write = RunDirectory.metrics

    def write_and_die(self: RunDirectory, step: int, values: Any) -> None:
        write(self, step, values)
        if step >= last:
            os.write(2, b"\ndying")
            os.kill(os.getpid(), signal.SIGKILL)

    RunDirectory.metrics = write_and_die
    sys.exit(run(Path(path)))
