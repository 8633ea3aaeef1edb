"""One run's directory: verified inputs, progress, metrics, checkpoints and its final status.

It does not know what is trained, the database, or who started the run.
"""

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from modelserving.core.artifacts import (
    MANIFEST,
    ArtefactError,
    content_hash,
    file_sha256,
    utc_now,
    verify,
    write_durably,
)
from training.config import ConfigError, RunConfig, from_dict, to_dict
from training.core.checkpointing import (
    ResumeState,
    all_checkpoints,
    clear_up,
    count_resumable,
    discard_partials,
    newest_resume,
    prune,
    set_aside,
    step_name,
    write_checkpoint,
)
from training.core.code_version import code_version
from training.core.distributed import Ranks
from training.core.outcome import NonFinite, in_json
from training.core.preflight import require_space
from training.core.row_files import append_rows, drop_rows, whole_lines
from training.core.settings_files import read_object

Halt = Literal["stop", "interrupt"]
State = Literal["done", "stopped", "failed", "interrupted"]
logger = logging.getLogger(__name__)


class InputRefused(ConfigError):
    """An input that is missing, changed or unusable; the message names role and cure."""


class InputMissing(InputRefused):
    """An input that is not there: its disk may not be mounted yet."""


class RunDirectory:
    """The files by which a run and its supervisor talk."""

    def __init__(self, path: Path, *, ranks: Ranks | None = None) -> None:
        self.path = path
        self.ranks = ranks or Ranks()
        self._writes = self.ranks.is_main  # under torchrun one process writes for all
        self.config: RunConfig = from_dict(_read(path / "config.json"))
        self._inputs: dict[str, dict[str, str]] = _read(path / "inputs.json")
        self._checked, self._interrupted = dict[str, Path](), False
        self._total, self._first_step, self._started = -1, 0, 0.0  # of the pace
        kept = path / "milestones.json"
        self._milestones: set[str] = set(_read(kept)["kept"]) if kept.exists() else set()
        self._code = code_version()

    def catch_interrupts(self) -> None:
        """Turn SIGTERM and SIGINT into a request that `should_stop` reports between steps."""

        def remember(_signal: int, _frame: FrameType | None) -> None:
            self._interrupted = True

        signal.signal(signal.SIGTERM, remember)
        signal.signal(signal.SIGINT, remember)

    def has_input(self, role: str) -> bool:
        """Whether inputs.json names this role."""
        return role in self._inputs

    def inputs(self, role: str) -> Path:
        """Path of an input after its hash was checked, once in an attempt."""
        if role in self._checked:
            return self._checked[role]
        if role not in self._inputs:
            raise InputRefused(f"inputs.json has no {role}: this run kind needs one")
        entry = self._inputs[role]
        path = (self.path / entry["path"]).resolve()
        if not path.exists():
            raise InputMissing(f"the {role} {path} is not there: mend its path in inputs.json")
        try:
            found = content_hash(verify(path)) if path.is_dir() else file_sha256(path)
        except ArtefactError as damaged:
            raise InputRefused(f"the {role} cannot be used: {damaged}") from None
        if found != entry["sha256"]:
            raise InputRefused(
                f"the {role} {path} has hash {found[:12]}…, inputs.json says "
                f"{entry['sha256'][:12]}…: it was changed; start a new run on it"
            )
        return self._checked.setdefault(role, path)

    def input_hash(self, role: str) -> str:
        """The hash that inputs.json states for a role."""
        return self._inputs[role]["sha256"]

    def log(self, message: str) -> None:
        """Append one line to log.txt."""
        if not self._writes:
            return
        logger.info(message)
        try:
            with (self.path / "log.txt").open("a", encoding="utf-8") as handle:
                handle.write(f"{utc_now()} {message}\n")
        except OSError as failure:  # on a full disk; what failed there must still come to its end
            logger.warning("log.txt cannot be written (%s): %s", failure, message)

    def metrics(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """Append one row to metrics.jsonl; a number that is not finite ends the run instead."""
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise NonFinite(name, step=step)
        self.append_rows("metrics.jsonl", [{"step": step, "time": time.time(), **values}])

    def sample(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one row to samples.jsonl."""
        self.append_rows("samples.jsonl", [{"step": step, **values}])

    def append_row(self, name: str, row: Mapping[str, Any]) -> None:
        """Append one row to a JSONL file of this run."""
        self.append_rows(name, [row])

    def append_rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows that belong together."""
        if self._writes:
            append_rows(self.path / name, rows)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Every whole row of a JSONL file of this run."""
        return [json.loads(line) for line in whole_lines(self.path / name)]

    def drop_rows(self, *, after: int) -> None:
        """Drop rows of steps that will be computed again, so that no step appears twice."""
        if self._writes:
            for name in ("metrics.jsonl", "samples.jsonl"):
                drop_rows(self.path / name, after=after)

    def progress(
        self, step: int, total: int, phase: str, *, seconds_left: float | None = None
    ) -> None:
        """Replace progress.json; unless given, the time left follows from the pace since `total` last changed."""
        if not self._writes:
            return
        if total != self._total:
            self._total, self._first_step, self._started = total, step, time.monotonic()
        done = step - self._first_step
        if seconds_left is None and done > 0 and step < total:
            pace = (time.monotonic() - self._started) / done
            seconds_left = pace * (total - step)
        progress = {
            "step": step,
            "total_steps": total,
            "phase": phase,
            "seconds_left": seconds_left,
            "alive_at": utc_now(),
        }
        partial = self.path / "progress.json.partial"
        partial.write_text(json.dumps(progress), encoding="utf-8")
        partial.replace(self.path / "progress.json")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a result file such as evaluation.json."""
        if self._writes:
            write_durably(
                self.path / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            )

    def should_stop(self) -> Halt | None:
        """`interrupt` after SIGTERM, `stop` when stop.json has appeared."""
        if self._interrupted:
            return "interrupt"
        return "stop" if (self.path / "stop.json").exists() else None

    def agreed_halt(self) -> Halt | None:
        """What rank 0 sees in `should_stop`, the same on every rank."""
        words: list[Halt | None] = [None, "stop", "interrupt"]
        (wish,) = self.ranks.from_main([float(words.index(self.should_stop()))])
        return words[int(wish)]

    @property
    def checkpoints(self) -> Path:
        """Folder of the step directories."""
        return self.path / "checkpoints"

    def publish_checkpoint(
        self,
        *,
        step: int,
        write: Callable[[Path], None],
        kind: str,
        parents: list[str],
        resume: ResumeState | None = None,
        milestone: bool = True,
    ) -> Path:
        """Publish weights (and resume state) of a step; milestones are kept, others are pruned."""
        if not self._writes:
            self.ranks.wait()
            return self.checkpoints / step_name(step)
        if milestone:  # before it is there: a name alone does no harm, one that is missed is pruned
            self._milestones.add(step_name(step))
            self.write_json("milestones.json", {"kept": sorted(self._milestones)})
        path = write_checkpoint(
            self.checkpoints,
            step=step,
            write_weights=write,
            resume=resume,
            kind=kind,
            parents=parents,
            config=to_dict(self.config),
            code=self._code,
        )
        prune(self.checkpoints, keep=self.config.keep_checkpoints, milestones=self._milestones)
        self.log(f"published {path.name}")
        self.ranks.wait()
        return path

    def load_resume(self) -> ResumeState | None:
        """State of the newest checkpoint that verifies, or None for a fresh start."""
        if self._writes:
            clear_up(self.checkpoints)
        self.ranks.wait()
        found = newest_resume(self.checkpoints, report=self.log)
        self.ranks.wait()
        if self._writes:
            self._set_aside(found[0] if found else None)
        if found is None:
            self.drop_rows(after=-1)  # an attempt broke off before its first checkpoint
            return None
        path, state = found
        self.ranks.wait()
        self.drop_rows(after=state.step)
        self.log(f"resuming from {path.name}")
        return state

    def _set_aside(self, after: Path | None) -> None:
        if names := set_aside(self.checkpoints, after=after):
            self.log(f"set aside, as .aside: {', '.join(names)}")
            self._milestones -= set(names)
            self.write_json("milestones.json", {"kept": sorted(self._milestones)})

    def finish(
        self, state: State, *, step: int, reason: str = "", results: Mapping[str, Any] | None = None
    ) -> None:
        """Write status.json, the last thing a run does."""
        if not self._writes:
            return
        discard_partials(self.checkpoints)  # one that filled the disk leaves room to say so
        named = [f"checkpoints/{path.name}" for path in all_checkpoints(self.checkpoints)]
        status = {
            "state": state,
            "reason": reason,
            "step": step,
            "checkpoint": named[-1] if named else None,
            "checkpoints": named,
            "results": in_json(results or {}),
            "code": self._code,
            "finished_at": utc_now(),
        }
        self.log(f"{state} at step {step}" + (f": {reason}" if reason else ""))
        write_durably(self.path / "status.json", json.dumps(status, indent=2) + "\n")

    def require_space(
        self, checkpoint_bytes: int, *, milestones: int = 0, milestone_bytes: int = 0
    ) -> None:
        """Refuse to go on when what is still to come would not fit on the disk; milestones keep their weights for good."""
        if self._writes:
            discard_partials(self.checkpoints)
        self.ranks.wait()
        require_space(
            self.path,
            checkpoint_bytes=checkpoint_bytes,
            keep=self.config.keep_checkpoints,
            standing=count_resumable(self.checkpoints),
            kept_bytes=max(0, milestones - len(self._milestones)) * milestone_bytes,
        )


def _read(path: Path) -> dict[str, Any]:
    absent = "make the run's directory with python -m training.core.new_run"
    return read_object(path, refusal=InputRefused, absent=absent, cure="write it again")


def reference(path: Path) -> dict[str, str]:
    """An inputs.json entry for a published directory or a single file."""
    sha256 = content_hash(verify(path)) if (path / MANIFEST).exists() else file_sha256(path)
    return {"path": str(path.resolve()), "sha256": sha256}
