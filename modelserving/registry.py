"""Checkpoints by content: verify a directory, keep it under its hash, and have one row for it.

Knows files, manifests and rows; knows neither training runs nor who serves what.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from modelserving.core.adapters import adapter_config, is_adapter
from modelserving.core.architectures import CheckpointRefused
from modelserving.core.artifacts import (
    MANIFEST,
    ArtefactError,
    Manifest,
    content_hash,
    fsync_path,
    read_manifest,
    verify,
)
from modelserving.core.faults import hit
from modelserving.core.weights import WeightsRefused, count_parameters
from modelserving.models import Checkpoint

logger = logging.getLogger(__name__)

STARTER_NAME = "Starter"


class CheckpointNotRegistered(Exception):
    """The directory cannot become a checkpoint; the message names the reason and the cure."""


def checkpoints_root() -> Path:
    """Where registered checkpoints stand, one directory per hash."""
    return Path(settings.ARTEFACTS) / "checkpoints"


def directory_of(checkpoint: Checkpoint) -> Path:
    """The checkpoint's directory."""
    return checkpoints_root() / checkpoint.hash


def register_checkpoint(
    directory: Path,
    *,
    name: str,
    origin: str,
    run: uuid.UUID | None = None,
    step: int | None = None,
    results: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Verify a published directory and keep its weights under its hash, without resume state.

    The same content gives the same checkpoint, however often and wherever it is registered.
    """
    try:
        manifest = read_manifest(directory)
        if manifest.kind not in Checkpoint.Kind.values:
            raise CheckpointNotRegistered(
                f"{directory} holds a {manifest.kind}: only models become checkpoints"
            )
        base = _base(directory, manifest=manifest)
        kept = _keep(directory, manifest=manifest)
        parameters = count_parameters(kept)
    except (ArtefactError, CheckpointRefused, WeightsRefused) as refused:
        raise CheckpointNotRegistered(str(refused)) from refused
    return _row(
        manifest, name=name, origin=origin, run=run, step=step, results=dict(results or {}),
        parameters=parameters, base=base,
    )  # fmt: skip


def _base(directory: Path, *, manifest: Manifest) -> Checkpoint | None:
    """The registered checkpoint that an adapter needs; None for whole weights."""
    if not is_adapter(directory):
        return None
    wanted = adapter_config(directory, manifest=manifest).base
    base = Checkpoint.objects.filter(hash=wanted).first()
    if base is None or not directory_of(base).is_dir():
        raise CheckpointNotRegistered(
            f"{directory} is an adapter of checkpoint {wanted[:12]}, which is not registered: "
            "import that one first"
        )
    if base.base is not None or base.kind == Checkpoint.Kind.PREFERENCE_MODEL:
        raise CheckpointNotRegistered(
            f"{directory} is an adapter of {base}, which is not a language model or policy with whole weights"
        )
    return base


def ensure_starter() -> Checkpoint:
    """The checkpoint that ships with the project; registered at the first call."""
    source = Path(settings.STARTER_CHECKPOINT)
    try:
        identity = content_hash(read_manifest(source))
    except ArtefactError as missing:
        raise CheckpointNotRegistered(str(missing)) from missing
    known = Checkpoint.objects.filter(hash=identity).first()
    if known is not None and directory_of(known).is_dir():
        return known
    return register_checkpoint(source, name=STARTER_NAME, origin=Checkpoint.Origin.STARTER)


def _keep(directory: Path, *, manifest: Manifest) -> Path:
    """Copy the manifest's files to the checkpoint's own place, all of it or nothing."""
    final = checkpoints_root() / content_hash(manifest)
    if final.is_dir() and _is_sound(final):
        return final
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = final.with_name(f"{final.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        _copy(directory, partial, manifest=manifest)
        hit("registry.before_rename")
        try:
            partial.rename(final)
        except OSError:  # somebody else registered the same content meanwhile
            if not _is_sound(final):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    fsync_path(final.parent)
    return final


def _copy(directory: Path, partial: Path, *, manifest: Manifest) -> None:
    """Bring the files over by link where they are ours already, by copy where not; then verify them."""
    is_ours = directory.resolve().is_relative_to(Path(settings.ARTEFACTS))
    partial.mkdir(mode=0o700)
    for name in [*manifest.files, MANIFEST]:
        source, target = directory / name, partial / name
        if not target.resolve().is_relative_to(partial.resolve()):
            raise ArtefactError(f"{directory} names a file outside itself: {name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _bring(source, target, is_ours=is_ours)
        except FileNotFoundError:
            raise ArtefactError(f"{source} is missing: copy the whole directory again") from None
        fsync_path(target)
    fsync_path(partial)
    if content_hash(verify(partial)) != content_hash(manifest):
        raise ArtefactError(f"{directory} changed while it was read: publish it anew")


def _bring(source: Path, target: Path, *, is_ours: bool) -> None:
    if is_ours and not source.is_symlink():
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)
    target.chmod(0o400)


def _is_sound(final: Path) -> bool:
    """Whether what stands under the hash is that content; what is damaged is set aside."""
    try:
        if content_hash(verify(final)) == final.name:
            return True
    except ArtefactError as damaged:
        logger.warning("checkpoint %s is damaged and set aside: %s", final.name[:8], damaged)
    if final.is_dir():
        final.rename(final.with_name(f"{final.name}.damaged-{uuid.uuid4().hex[:8]}"))
    return False


def _row(
    manifest: Manifest, *, name: str, origin: str, parameters: int, run: uuid.UUID | None,
    step: int | None, results: dict[str, Any], base: Checkpoint | None,
) -> Checkpoint:  # fmt: skip
    identity = content_hash(manifest)
    try:
        with transaction.atomic():
            checkpoint = Checkpoint.objects.create(
                hash=identity, kind=manifest.kind, origin=origin, name=name[:120],
                manifest=manifest.to_dict(), parameters=parameters,
                size=sum(each["size"] for each in manifest.files.values()),
                run=run, step=step, results=results, base=base,
            )  # fmt: skip
            parents = Checkpoint.objects.filter(hash__in=[str(each) for each in manifest.parents])
            checkpoint.parents.set(parents.exclude(pk=checkpoint.pk))
            return checkpoint
    except IntegrityError:
        known = Checkpoint.objects.filter(hash=identity).first()
        if known is None:
            raise
        return known
