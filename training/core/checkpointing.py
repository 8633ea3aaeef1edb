"""Write checkpoints that a crash cannot half-write, and find the newest one that verifies.

It does not know what is trained: weights are written by the caller, resume state is named tensors.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from modelserving.core.artifacts import (
    ArtefactError,
    fsync_path,
    publish,
    utc_now,
    verify,
    write_manifest,
)
from training.core.sharding import own_part

RESUME = "resume"
PARTIAL = ".partial"  # what is being written
REPLACED = ".replaced"  # what stood at a step while its successor takes its place
ASIDE = ".aside"  # of a checkpoint that a run no longer goes on from


@dataclass(frozen=True, kw_only=True)
class ResumeState:
    """Everything needed to go on as if nothing had happened."""

    step: int
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    scalars: Mapping[str, Any] = field(default_factory=dict)


def step_name(step: int) -> str:
    """Directory name of a step's checkpoint."""
    return f"step-{step:06d}"


def write_checkpoint(
    checkpoints: Path,
    *,
    step: int,
    write_weights: Callable[[Path], None],
    resume: ResumeState | None,
    kind: str,
    parents: list[str],
    config: Mapping[str, Any],
    code: str,
) -> Path:
    """Write `step-N.partial`, its manifests last, read it back, and rename it into place.

    What stands at that step already stays until the new one is whole: a crash loses neither.
    """
    final = checkpoints / step_name(step)
    partial = checkpoints / f"{final.name}{PARTIAL}"
    if partial.exists():  # of an attempt that died
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    write_weights(partial)
    stamp: dict[str, Any] = {"config": config, "code": code, "created": utc_now()}
    if resume is not None:
        _write_resume(partial / RESUME, resume)
        write_manifest(partial / RESUME, kind="resume", parents=[], **stamp)
    write_manifest(partial, kind=kind, parents=parents, **stamp)
    for written in (partial, partial / RESUME) if resume is not None else (partial,):
        verify(written)  # before it replaces, or lets go of, an older one
    replaced = checkpoints / f"{final.name}{REPLACED}"
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    publish(partial, final)
    shutil.rmtree(replaced, ignore_errors=True)
    return final


def discard_partials(checkpoints: Path) -> None:
    """Remove checkpoints that were never finished."""
    for partial in checkpoints.glob(f"step-*{PARTIAL}"):
        shutil.rmtree(partial)


def clear_up(checkpoints: Path) -> None:
    """Clean up after a crash: delete half-written checkpoints, and restore those whose replacement was never finished."""
    discard_partials(checkpoints)
    for replaced in checkpoints.glob(f"step-*{REPLACED}"):
        final = checkpoints / replaced.name.removesuffix(REPLACED)
        if final.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(final)


def _write_resume(directory: Path, resume: ResumeState) -> None:
    directory.mkdir()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in resume.tensors.items()}
    save_file(tensors, directory / "state.safetensors")
    scalars = {"step": resume.step, **resume.scalars}
    (directory / "state.json").write_text(json.dumps(scalars), encoding="utf-8")


def read_resume(checkpoint: Path) -> ResumeState:
    """Verify weights and resume state of one checkpoint, then read the latter."""
    verify(checkpoint)
    verify(checkpoint / RESUME)
    scalars = json.loads((checkpoint / RESUME / "state.json").read_text(encoding="utf-8"))
    tensors = load_file(checkpoint / RESUME / "state.safetensors")
    return ResumeState(step=scalars.pop("step"), tensors=tensors, scalars=scalars)


def all_checkpoints(checkpoints: Path) -> list[Path]:
    """Published step directories, oldest first; nothing is said about their soundness."""
    if not checkpoints.is_dir():
        return []
    numbered = {
        int(path.name.removeprefix("step-")): path
        for path in checkpoints.glob("step-*")
        if path.is_dir() and path.name.removeprefix("step-").isdecimal()
    }
    return [path for _, path in sorted(numbered.items())]


def count_resumable(checkpoints: Path) -> int:
    """How many of them hold a resume state; milestones may have lost theirs."""
    return sum((path / RESUME).is_dir() for path in all_checkpoints(checkpoints))


def newest_resume(
    checkpoints: Path, *, report: Callable[[str], None]
) -> tuple[Path, ResumeState] | None:
    """The newest checkpoint that verifies; damaged ones are reported and passed over."""
    for path in reversed(all_checkpoints(checkpoints)):
        if not (path / RESUME).is_dir():
            continue
        try:
            return path, read_resume(path)
        except ArtefactError as damaged:
            report(f"passing over {path.name}: {damaged}")
    return None


def set_aside(checkpoints: Path, *, after: Path | None) -> list[str]:
    """Rename what stands behind the checkpoint that a run goes on from (all, without one); the names it had.

    It is damaged, or of steps that will be made anew: left in place it would count as the newest.
    """
    every = all_checkpoints(checkpoints)
    later = every[every.index(after) + 1 :] if after else every
    for path in later:
        aside = path.with_name(f"{path.name}{ASIDE}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    return [path.name for path in later]


def prune(checkpoints: Path, *, keep: int, milestones: set[str]) -> None:
    """Drop older resume states, and older checkpoints that are no milestones.

    Called after a new checkpoint was verified and published, so one sound state always stays.
    """
    paths = all_checkpoints(checkpoints)
    for path in paths[:-keep] if keep else paths:
        if path.name in milestones:
            shutil.rmtree(path / RESUME, ignore_errors=True)
        else:
            shutil.rmtree(path)
    if checkpoints.is_dir():
        fsync_path(checkpoints)


def optimizer_tensors(optimizer: torch.optim.Optimizer, *, prefix: str) -> dict[str, Tensor]:
    """An optimizer's state as named tensors: `prefix.<parameter index>.<name>`."""
    return {
        f"{prefix}.{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, *, tensors: Mapping[str, Tensor], prefix: str
) -> None:
    """Put named tensors back; parameter groups stay as the configuration made them."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(f"{prefix}."):
            index, name = key.removeprefix(f"{prefix}.").split(".", 1)
            like = parameters[int(index)]
            is_cut_too = tensor.shape == like.shape and tensor.ndim > 0
            state.setdefault(int(index), {})[name] = (
                own_part(tensor, like=like) if is_cut_too else tensor
            )
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
