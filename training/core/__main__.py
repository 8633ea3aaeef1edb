"""Run a run directory: `python -m training.core RUN_DIR` (or under torchrun).

It does not know any training: the kind in config.json decides which module is imported.
"""

import errno
import importlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from safetensors import SafetensorError

from modelserving.core.architectures import CheckpointRefused
from modelserving.core.artifacts import ArtefactError, write_durably
from modelserving.core.dialogue import DialogueError
from modelserving.lm.tokenizer import TokenizerFailure
from training.config import ConfigError, kind_of
from training.core.checkpointing import all_checkpoints
from training.core.distributed import join_ranks
from training.core.loading_room import require_room_to_load
from training.core.memory import keep_freed_memory
from training.core.outcome import NonFinite, Outcome
from training.core.preflight import TooLittleRoom
from training.core.run_directory import InputMissing, RunDirectory

TRAINERS = {
    "language_model": "training.core.language_model_training:train",
    "context_distillation": "training.core.distillation:train",
    "preference_pretraining": "training.core.preference_pretraining:train",
    "preference_model": "training.core.preference_training:train",
    "ppo": "training.core.ppo_training:train",
    "best_of_k": "training.core.best_of_k:train",
    "evaluation": "training.core.evaluation.run:train",
}
# what is wrong with what a run was given; each message names it and the cure
UNUSABLE = (ConfigError, CheckpointRefused, ArtefactError, DialogueError, TokenizerFailure)
# what a run that has come some way may find as it was at the next attempt
PASSING = (TooLittleRoom, InputMissing)
FULL = (errno.ENOSPC, errno.EDQUOT)
DONE, CRASHED, REFUSED, NON_FINITE, FELL_SHORT = 0, 1, 2, 3, 4


def trainer_of(kind: str) -> Callable[[RunDirectory, Any], Outcome]:
    """Import the function that runs a kind."""
    module, function = TRAINERS[kind].split(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def run(path: Path) -> int:
    """Run to an end and write status.json; the exit code says which end."""
    try:
        directory = RunDirectory(path, ranks=join_ranks())
    except ConfigError as refused:
        return refuse(path, reason=str(refused))
    directory.catch_interrupts()
    before = Standing.of(path)
    try:
        require_room_to_load(directory)
        outcome = trainer_of(kind_of(directory.config))(directory, directory.config)
    except UNUSABLE as refused:
        step = before.step_by_now(path)
        if before.step > 0 and isinstance(refused, PASSING):
            return fall_short(directory, str(refused), step=before.step)
        if step > before.step and not isinstance(refused, ConfigError):
            return crash(directory, refused)  # it was usable before: another attempt may go on
        directory.finish("failed", step=step, reason=str(refused))
        print(refused, file=sys.stderr)
        return REFUSED
    except NonFinite as failure:
        directory.finish("failed", step=failure.step, reason=str(failure))
        print(failure, file=sys.stderr)
        return NON_FINITE
    except Exception as failure:  # noqa: BLE001 -- the process boundary: the supervisor reads status.json
        if is_full_disk(failure):
            directory.log(traceback.format_exc())
            lack = f"the disk under {path} is full ({failure}): free some space"
            return fall_short(directory, lack, step=before.step_by_now(path))
        return crash(directory, failure)
    directory.finish(
        outcome.state, step=outcome.step, reason=outcome.reason, results=outcome.results
    )
    return DONE


def crash(directory: RunDirectory, failure: Exception) -> int:
    """Say what a run died of. Called while the failure is handled."""
    directory.log(traceback.format_exc())
    directory.finish("failed", step=-1, reason=f"{type(failure).__name__}: {failure}")
    traceback.print_exc()
    return CRASHED


def fall_short(directory: RunDirectory, lack: str, *, step: int) -> int:
    """Say what a run waits for; its checkpoints stand, and it goes on from there when that has come."""
    directory.finish("failed", step=step, reason=lack)
    print(lack, file=sys.stderr)
    return FELL_SHORT


def is_full_disk(failure: Exception) -> bool:
    """Whether writing failed for lack of room; safetensors says it in words alone."""
    if isinstance(failure, OSError):
        return failure.errno in FULL
    return isinstance(failure, SafetensorError) and f"(os error {errno.ENOSPC})" in str(failure)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a run was when this process took it on."""

    step: int  # of the newest checkpoint
    progress: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path) -> "Standing":
        """How far the run is now."""
        names = [each.name for each in all_checkpoints(path / "checkpoints")]
        steps = [int(name.removeprefix("step-")) for name in names]
        return cls(step=max(steps, default=0), progress=_progress(path))

    def step_by_now(self, path: Path) -> int:
        """The last step taken by this process, or the one that it found."""
        now = Standing.of(path)
        told = 0 if now.progress == self.progress else int(now.progress.get("step", 0))
        return max(now.step, told)


def _progress(path: Path) -> dict[str, Any]:
    """What progress.json says, if there is one."""
    try:
        stored: dict[str, Any] = json.loads((path / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored


def refuse(path: Path, *, reason: str) -> int:
    """Say why a run cannot begin, also where config.json itself cannot be read."""
    print(reason, file=sys.stderr)
    if path.is_dir():
        status = {"state": "failed", "reason": reason, "step": 0, "checkpoint": None}
        status |= {"checkpoints": [], "results": {}}
        write_durably(path / "status.json", json.dumps(status, indent=2) + "\n")
    return REFUSED


def main(arguments: list[str]) -> int:
    """Entry point."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        usage = "usage: python -m training.core RUN_DIR; python -m training.core.new_run makes one"
        print(usage, file=sys.stderr)
        return DONE if arguments in (["-h"], ["--help"]) else REFUSED
    keep_freed_memory()
    if sys.stderr.isatty():
        follow(sys.stderr)
    path = Path(arguments[0])
    code = run(path)
    if code == DONE and int(os.environ.get("RANK", "0")) == 0:
        print(ending(path))
    return code


def follow(stream: TextIO) -> None:
    """Show on the terminal what the run writes to log.txt."""
    ours = logging.getLogger("training.core")
    ours.addHandler(logging.StreamHandler(stream))
    ours.setLevel(logging.INFO)


def ending(path: Path) -> str:
    """The end of a run in a line: its state, and the checkpoint that can be imported."""
    status = json.loads((path / "status.json").read_text(encoding="utf-8"))
    words = f"{status['state']} at step {status['step']}"
    return f"{words}: {path / status['checkpoint']}" if status["checkpoint"] else words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
