"""Kill a run for real, with SIGKILL, at a step that the test chooses; knows no run kind."""

import os
import subprocess
import sys
from pathlib import Path

# the run itself, but for the signal it sends itself right after it wrote the metrics of a step
DYING = """
import os, signal, sys
from pathlib import Path
from training.core.__main__ import run
from training.core.run_directory import RunDirectory

write = RunDirectory.metrics

def write_and_die(self, step, values):
    write(self, step, values)
    if step >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

RunDirectory.metrics = write_and_die
sys.exit(run(Path(sys.argv[1])))
"""


def kill_at(path: Path, *, step: int) -> None:
    """Start the run as a process of its own that dies of SIGKILL at a step."""
    command = [sys.executable, "-c", DYING, str(path), str(step)]
    ended = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=100,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -9, ended.stderr
