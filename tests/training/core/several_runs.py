"""Run several run directories one after another in this process, under torchrun; knows no run kind.

`several_runs.py DIRECTORY…`, or `several_runs.py --die-at STEP DIRECTORY`: rank 0 kills itself once it wrote that step.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.core.__main__ import run
from training.core.run_directory import RunDirectory


def die_at(step: int) -> None:
    """Have SIGKILL come right after the metrics of a step."""
    write = RunDirectory.metrics

    def write_and_die(self: RunDirectory, at: int, values: Mapping[str, Any]) -> None:
        write(self, at, values)
        if at >= step and self.ranks.is_main:
            os.kill(os.getpid(), signal.SIGKILL)

    RunDirectory.metrics = write_and_die


def main(arguments: list[str]) -> int:
    """The first exit code that is not 0."""
    if arguments[0] == "--die-at":
        die_at(int(arguments[1]))
        arguments = arguments[2:]
    return next((code for each in arguments if (code := run(Path(each)))), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
