"""Cut a dataset release: select, split, write, publish, freeze; the same data gives the same bytes.

Knows comparisons and the artefact store; knows nothing of training or of downloads.
"""

import fcntl
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from comparisons.models import Account, Comparison, DatasetRelease, ReleaseComparison
from comparisons.queries.imports import from_sources
from comparisons.queries.releases import (
    LEFT_OUT,
    ReleaseFilters,
    release_counts,
)
from comparisons.services import audit
from comparisons.services.release_rows import write_rows
from comparisons.services.stale_releases import holds_what_left
from comparisons.tasks import cut_release as cut_release_task
from modelserving import doorbell
from modelserving.core.artifacts import content_hash, publish, utc_now, verify, write_manifest

logger = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
MEMBERS_AT_ONCE = 1000


class ReleaseRefused(ValueError):
    """The release cannot be cut; the message says what to change."""


class ReleaseNameTaken(ReleaseRefused):
    """A release of this name exists, and releases never change."""


class ReleaseBusy(ReleaseRefused):
    """Another process cuts this release just now."""


def cut_release(
    name: str,
    *,
    test_percent: int = 20,
    filters: ReleaseFilters | None = None,
    created_by: Account | None = None,
) -> DatasetRelease:
    """Cut a release here and now, and return it frozen."""
    release = open_release(name, test_percent=test_percent, filters=filters, created_by=created_by)
    return cut(release)


def request_release(
    name: str,
    *,
    test_percent: int = 20,
    filters: ReleaseFilters | None = None,
    created_by: Account | None = None,
) -> DatasetRelease:
    """Write down that a release is wanted; a worker cuts it."""
    with transaction.atomic():
        release = open_release(
            name, test_percent=test_percent, filters=filters, created_by=created_by
        )
        doorbell.ring_on_commit(cut_release_task, release_id=release.pk)
    return release


def open_release(
    name: str,
    *,
    test_percent: int,
    filters: ReleaseFilters | None,
    created_by: Account | None,
) -> DatasetRelease:
    """Take the name. One that failed before is taken again; a frozen one never."""
    if not NAME.fullmatch(name) or ".." in name or name.endswith(".partial"):
        raise ReleaseRefused(
            f"release name {name!r}: 1 to 64 of a-z, 0-9, dot, dash and underscore, "
            "beginning and ending with a letter or digit"
        )
    if not 0 <= test_percent <= 90:
        raise ReleaseRefused(f"test share {test_percent} %: choose 0 to 90")
    filters = filters or ReleaseFilters()
    refuse_unknown_sources(filters)
    if not release_counts(filters).kept:
        raise ReleaseRefused(
            "no comparison is left to release: collect or import some, or widen the filters"
        )
    asked = {
        "state": DatasetRelease.State.CUTTING,
        "filters": filters.to_dict(),
        "test_percent": test_percent,
        "created_by": created_by,
    }
    with transaction.atomic():
        release = _taken_name(name, asked)
        audit.record(
            actor=created_by, action="release.cut", object_type="release", object_id=name,
            detail={"filters": filters.to_dict(), "test_percent": test_percent},
        )  # fmt: skip
    return release


def refuse_unknown_sources(filters: ReleaseFilters) -> None:
    """Refuse to leave out what was never imported: it would be a name mistyped."""
    for source in filters.without_sources:
        if not Comparison.objects.filter(from_sources([source])).exists():
            raise ReleaseRefused(
                f"nothing was imported from {source!r}: the page of imports names the sources"
            )


def _taken_name(name: str, asked: Mapping[str, Any]) -> DatasetRelease:
    """The row of the name: a new one, or one that failed and is asked for again."""
    try:
        with transaction.atomic():
            return DatasetRelease.objects.create(name=name, **asked)
    except IntegrityError:
        failed = DatasetRelease.objects.filter(name=name, state=DatasetRelease.State.FAILED)
        if failed.update(failure="", **asked) != 1:
            raise ReleaseNameTaken(f"a release {name!r} exists: choose another name") from None
        return DatasetRelease.objects.get(name=name)


def cut(release: DatasetRelease) -> DatasetRelease:
    """Write and freeze a release that was opened; safe to repeat after a crash at any point."""
    with _sole_cutter(release.name):
        release.refresh_from_db()
        if release.state != DatasetRelease.State.CUTTING:
            return release
        try:
            _write_and_freeze(release)
        except (OSError, ReleaseRefused) as failure:
            fail(release, reason=str(failure))
            raise ReleaseRefused(f"release {release.name} failed: {failure}") from failure
    release.refresh_from_db()
    return release


def fail(release: DatasetRelease, *, reason: str) -> None:
    """Say that the cut failed and why; the name may be used again."""
    cutting = DatasetRelease.objects.filter(pk=release.pk, state=DatasetRelease.State.CUTTING)
    cutting.update(state=DatasetRelease.State.FAILED, failure=reason[:200])


def cut_in_background(release_id: int) -> None:
    """A worker's way to cut: the row tells how it ended, also when the code is wrong."""
    release = DatasetRelease.objects.filter(pk=release_id).first()
    if release is None:
        logger.warning("release %s is gone", release_id)
        return
    try:
        cut(release)
    except ReleaseRefused as refusal:
        logger.warning("%s", refusal)
    except Exception as broken:  # process boundary: the row must tell the person waiting
        fail(release, reason=f"{type(broken).__name__}: {broken}")
        raise


def take_up_waiting() -> None:
    """Cut every release that is wanted and that no living process holds."""
    waiting = DatasetRelease.objects.filter(state=DatasetRelease.State.CUTTING)
    for key in waiting.order_by("pk").values_list("pk", flat=True):
        cut_in_background(key)


def directory_of(release: DatasetRelease) -> Path:
    """Where a frozen release's files stand."""
    return releases_root() / release.name


def releases_root() -> Path:
    """The folder of all releases."""
    return Path(settings.ARTEFACTS) / "releases"


@contextmanager
def _sole_cutter(name: str) -> Iterator[None]:
    """Hold the release's lock file; the system lets go of it when this process ends, however."""
    root = releases_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".{name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReleaseBusy(f"release {name} is being cut by another process: wait") from None
        yield


def _write_and_freeze(release: DatasetRelease) -> None:
    final = directory_of(release)
    partial = final.with_name(final.name + ".partial")
    for leftover in (partial, final):  # of a cut that was killed; nobody was told of it
        shutil.rmtree(leftover, ignore_errors=True)
    ReleaseComparison.objects.filter(release=release).delete()
    partial.mkdir(parents=True)
    filters = ReleaseFilters.from_dict(release.filters)
    before = release_counts(filters)
    counts, members = write_rows(partial, filters=filters, test_percent=release.test_percent)
    if not members:
        raise ReleaseRefused("every comparison left in the meantime: widen the filters")
    counts["left_out"] = {reason: count for reason, _words, count in before.left_out}
    counts["left_out_words"] = {reason: LEFT_OUT[reason] for reason in counts["left_out"]}
    _add_members(release, members)
    manifest = write_manifest(
        partial, kind="release", parents=[], code="", created=utc_now(),
        config={"name": release.name, "filters": release.filters,
                "test_percent": release.test_percent, "counts": counts},
    )  # fmt: skip
    publish(partial, final)
    _freeze(release, manifest_sha256=content_hash(manifest), counts=counts)


def _freeze(release: DatasetRelease, *, manifest_sha256: str, counts: Mapping[str, Any]) -> None:
    """Freeze, and say at once when somebody withdrew while it was written."""
    row = DatasetRelease.objects.filter(pk=release.pk)
    with transaction.atomic():
        # First the row, then the look: who takes something out now waits, and finds it frozen.
        frozen = row.filter(state=DatasetRelease.State.CUTTING).update(
            state=DatasetRelease.State.FROZEN, manifest_sha256=manifest_sha256, counts=counts,
            frozen_at=now(), stale_at=None,
        )  # fmt: skip
        if frozen and holds_what_left(release):
            row.update(stale_at=now())


def _add_members(release: DatasetRelease, members: list[tuple[int, str]]) -> None:
    for start in range(0, len(members), MEMBERS_AT_ONCE):
        ReleaseComparison.objects.bulk_create(
            ReleaseComparison(release=release, comparison_id=comparison, split=split)
            for comparison, split in members[start : start + MEMBERS_AT_ONCE]
        )


def verify_release(release: DatasetRelease) -> None:
    """Check a frozen release's files against its manifest, and the manifest against the row."""
    manifest = verify(directory_of(release))
    if content_hash(manifest) != release.manifest_sha256:
        raise ReleaseRefused(
            f"the files of release {release.name} are not those that were frozen: "
            "restore them from a backup"
        )
