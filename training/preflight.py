"""What stands ready for a new run as it is chosen so far, and what does not, before anything is started.

Reads only; the services refuse what cannot run, this says it beforehand.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from comparisons.models import DatasetRelease
from modelserving.models import Checkpoint
from training import queries
from training.config import ConfigError, presets, to_dict, with_overrides
from training.models import TrainingRun
from training.services import NEEDS_RANKER, NEEDS_RELEASE, RunRequest

LEAST_FREE = 2 * 1024**3  # bytes; the trainer asks for what it needs exactly


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line beside the form."""

    is_met: bool
    words: str


def checks(request: RunRequest) -> list[Check]:
    """The lines for this run, most important first."""
    found = []
    if request.kind in NEEDS_RELEASE:
        found.append(_release(request))
    if request.kind in NEEDS_RANKER:
        found.append(_ranker(request.ranker))
    return [*found, _size(request), _disk(), _queue()]


def _release(request: RunRequest) -> Check:
    release = request.release
    if release is None:
        has_any = DatasetRelease.objects.filter(state=DatasetRelease.State.FROZEN).exists()
        words = (
            "No release is chosen."
            if has_any
            else "No frozen release yet: cut one under Manage, Releases."
        )
        return Check(is_met=False, words=words)
    train, test = (release.counts.get(split) or 0 for split in ("train", "test"))
    words = f"release {release.name}: {train:,} pairs to train on, {test:,} to test on"
    needs_both = request.kind == "preference_model"
    return Check(
        is_met=bool(train and test) or not needs_both,
        words=words if (train and test) or not needs_both else f"{words}; both are needed",
    )


def _ranker(chosen: Checkpoint | None) -> Check:
    ranker = chosen or queries.preference_models().order_by("-pk").first()
    if ranker is None:
        return Check(is_met=False, words="No preference model yet: train one first.")
    return Check(is_met=True, words=f"preference model: {ranker}{'' if chosen else ', the newest'}")


def _size(request: RunRequest) -> Check:
    """How much the run does with its preset and what was typed beside it."""
    try:
        preset = presets(request.kind)[request.preset]
        config = to_dict(with_overrides(preset, dict(request.overrides or {})))
    except KeyError:
        return Check(is_met=False, words="No preset is chosen.")
    except ConfigError as refused:
        return Check(is_met=False, words=str(refused))
    counts = request.release.counts if request.release else {}
    more = " with what you changed" if request.overrides else ""
    words = _amount(request.kind, config, train=counts.get("train") or 0)
    return Check(is_met=True, words=f"preset {request.preset}{more}: {words}")


def _amount(kind: str, config: dict[str, Any], *, train: int) -> str:
    if kind == "preference_model":
        pairs = min(train, config["max_comparisons"] or train)
        steps = max(1, math.ceil(pairs * config["epochs"] / config["batch_comparisons"]))
        batch, times = config["batch_comparisons"], f"{config['epochs']:g}"
        if not train:
            return f"batches of {batch:,} pairs, each read {times} ×"
        return (
            f"about {steps:,} step{'s' * (steps > 1)} of up to {batch:,} pairs, each read {times} ×"
        )
    if kind == "ppo":
        return (
            f"{config['steps']:,} steps of {config['batch_prompts']:,} prompts × "
            f"{config['samples_per_prompt']:,} each, up to {config['max_response_tokens']:,} tokens long"
        )
    if kind == "best_of_k":
        return f"{config['k']:,} samples for each of up to {config['prompts']:,} prompts"
    if kind == "evaluation":
        return f"up to {config['max_examples']:,} examples in each suite"
    if config["max_minutes"]:
        return f"{config['max_minutes']:g} minutes"
    return f"{config['steps']:,} steps of {config['batch_blocks']:,} × {config['block_tokens']:,} tokens"


def _disk() -> Check:
    place = Path(settings.ARTEFACTS)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Check(is_met=free >= LEAST_FREE, words=f"disk: {free / 1024**3:,.1f} GB free")


def _queue() -> Check:
    if queries.waiting_without_worker():
        return Check(
            is_met=False,
            words="No training worker takes the runs that wait. Start one with ./start.",
        )
    before = TrainingRun.objects.filter(
        state__in=(TrainingRun.State.QUEUED, TrainingRun.State.RUNNING)
    ).count()
    words = f"queue: {before} before this one" if before else "queue: empty, it begins at once"
    return Check(is_met=True, words=words)
