"""Checks of what stands in files: releases, their splits, checkpoints, run directories.

Reads the database and the artefact store; I7, I9, I10 and I11 of docs/operations.md.
"""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db.models import F

from comparisons.core.splits import first_message_sha256, split_of_sha256
from comparisons.models import Conversation, DatasetRelease
from comparisons.queries.releases import first_messages
from comparisons.services.releasing import ReleaseRefused, verify_release
from labelapp.doctor.findings import Check, Finding, named, warning
from modelserving.core.adapters import adapter_config, is_adapter
from modelserving.core.architectures import CheckpointRefused
from modelserving.core.artifacts import ArtefactError, Manifest, content_hash, verify
from modelserving.models import Checkpoint
from modelserving.registry import directory_of
from training.models import TrainingRun

CUT_ANEW = "cut a new release; do not train on this one"


def splits_hold() -> Iterator[Finding]:
    """I7: a first human message is in train or in test, never both."""
    seen: dict[str, set[bytes]] = {"train": set(), "test": set()}
    for release in DatasetRelease.objects.filter(state=DatasetRelease.State.FROZEN):
        for ids in named(_wrongly_split(release, seen=seen)):
            yield Finding(what=f"release {release}: in the wrong split: {ids}", cure=CUT_ANEW)
    if count := len(seen["train"] & seen["test"]):
        yield warning(
            what=f"{count} first messages are in train of one release and in test of another",
            cure="compare results only among releases with the same test share",
        )


def first_messages_are_hashed() -> Iterator[Finding]:
    """The hash that a conversation is found by is of the first message said or imported in it."""
    for ids in named(_wrongly_hashed()):
        yield Finding(
            what=f"first message and its hash disagree: conversations {ids}",
            cure="somebody edited rows by hand: restore them from a backup",
        )


def releases_are_whole() -> Iterator[Finding]:
    """I7: the files of a frozen release are those that were frozen, and so are its rows."""
    for release in DatasetRelease.objects.filter(state=DatasetRelease.State.FROZEN):
        try:
            verify_release(release)
        except (ArtefactError, ReleaseRefused) as broken:
            yield Finding(
                what=f"release {release}: {broken}", cure="restore its folder or " + CUT_ANEW
            )
        counted = sum(int(release.counts.get(split, 0)) for split in ("train", "test"))
        if counted != release.members.count():
            yield Finding(
                what=f"release {release}: {release.members.count()} members, {counted} counted",
                cure=CUT_ANEW,
            )


def checkpoints_are_whole() -> Iterator[Finding]:
    """I10, I11: every checkpoint's bytes have the hashes of its manifest, and an adapter has its base."""
    for checkpoint in Checkpoint.objects.select_related("base"):
        folder = directory_of(checkpoint)
        try:
            manifest = verify(folder)
            found, needs = content_hash(manifest), _base_of(folder, manifest=manifest)
        except (ArtefactError, CheckpointRefused) as broken:
            yield Finding(
                what=f"checkpoint {checkpoint}: {broken}",
                cure=f"restore {folder} from a backup, or roll back what serves it",
            )
            continue
        if found != checkpoint.hash:
            yield Finding(
                what=f"checkpoint {checkpoint}: its folder holds {found[:8]}",
                cure=f"restore {folder} from a backup, or roll back what serves it",
            )
        if needs != (checkpoint.base.hash if checkpoint.base else None):
            yield Finding(
                what=f"checkpoint {checkpoint}: by its files its base is {needs or 'none'}, by its row {checkpoint.base or 'none'}",
                cure="somebody edited rows by hand: restore them from a backup",
            )


def _base_of(folder: Path, *, manifest: Manifest) -> str | None:
    return adapter_config(folder, manifest=manifest).base if is_adapter(folder) else None


def folders_are_known() -> Iterator[Finding]:
    """Half-written and damaged folders are named, so that somebody removes them."""
    root = Path(settings.ARTEFACTS)
    known = set(Checkpoint.objects.values_list("hash", flat=True))
    folders = sorted((root / "checkpoints").glob("*"))
    for names in named(each.name for each in folders if each.name not in known):
        yield warning(
            what=f"no checkpoint of ours in {root / 'checkpoints'}: {names}",
            cure="remove them when no run is being finished",
        )


def runs_stand() -> Iterator[Finding]:
    """I9: finished runs have their directory, and those that make a checkpoint have one."""
    done = TrainingRun.objects.filter(state=TrainingRun.State.DONE)
    makes = done.exclude(kind__in=[TrainingRun.Kind.EVALUATION, TrainingRun.Kind.BEST_OF_K])
    for ids in named(makes.filter(checkpoint__isnull=True).values_list("pk", flat=True)):
        yield Finding(what=f"done without a checkpoint: runs {ids}", cure="start them again")
    folders = Path(settings.ARTEFACTS) / "runs"
    missing = (run.pk for run in done if not (folders / str(run.public_id)).is_dir())
    for ids in named(missing):
        yield warning(what=f"without their folder: runs {ids}", cure=f"restore {folders}")
    overrun = TrainingRun.objects.filter(attempt__gt=F("max_attempts"))
    for ids in named(overrun.values_list("pk", flat=True)):
        yield Finding(what=f"tried too often: runs {ids}", cure="read their log and start anew")


def _wrongly_split(release: DatasetRelease, *, seen: dict[str, set[bytes]]) -> Iterator[int]:
    """By the first message inside the dialogue: a turn that was skipped is not in it."""
    for comparison, split, message in first_messages(release):
        digest = first_message_sha256(message)
        seen[split].add(bytes.fromhex(digest)[:12])  # short: there may be very many
        if split != split_of_sha256(digest, test_percent=release.test_percent):
            yield comparison


def _wrongly_hashed() -> Iterator[int]:
    standing = Conversation.objects.filter(is_withdrawn=False).exclude(first_message_sha256="")
    for conversation in standing.prefetch_related("turns").iterator(chunk_size=1000):
        opening = [each["content"] for each in conversation.opening]
        said = opening + [turn.message for turn in conversation.turns.all()]
        if said and first_message_sha256(said[0]) != conversation.first_message_sha256:
            yield conversation.pk


CHECKS = (
    Check(name="splits", promise="train and test stay apart", look=splits_hold),
    Check(
        name="first-messages",
        promise="first messages have true hashes",
        look=first_messages_are_hashed,
    ),
    Check(name="releases", promise="frozen releases are unchanged", look=releases_are_whole),
    Check(name="checkpoints", promise="checkpoints are unchanged", look=checkpoints_are_whole),
    Check(name="folders", promise="no folder is left over", look=folders_are_known),
    Check(name="runs", promise="finished runs left what they made", look=runs_stand),
)
