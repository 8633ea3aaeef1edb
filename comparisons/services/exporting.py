"""Exports of a frozen release: files that the usual libraries load, without any person in them.

Reads the release's own files, so an export never differs from what was frozen; knows no web.
"""

import fcntl
import hmac
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.timezone import now

from comparisons.formats import hh, trl
from comparisons.formats.csv import csv_writer
from comparisons.formats.lines import gzip_writer, line_of, numbered_lines, opened, record_of_line
from comparisons.formats.parquet import parquet_writer
from comparisons.formats.rich import ComparisonRow
from comparisons.models import Account, Comparison, DatasetRelease, ReleaseExport
from comparisons.services import audit
from comparisons.services.release_rows import SPLITS
from comparisons.services.releasing import directory_of, verify_release
from comparisons.tasks import make_export as make_export_task
from modelserving import doorbell
from modelserving.core.artifacts import ArtefactError, file_sha256, fsync_path

logger = logging.getLogger(__name__)

PAGE = 500
ENDINGS = dict.fromkeys(("hh", "trl", "rich"), "jsonl.gz") | {"parquet": "parquet", "csv": "csv"}
# by a pseudonym: the same in all exports of one release, another in every other
NAMES_PEOPLE = {"rich", "parquet", "csv"}
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same data gives the same file

Write = Callable[[Mapping[str, Any]], None]


class ExportRefused(ValueError):
    """The export cannot be made; the message says what to do."""


def request_export(
    release: DatasetRelease, format_name: str, *, requested_by: Account | None = None
) -> ReleaseExport:
    """Write down that an export is wanted; a worker makes it. One per release and format."""
    _check(release, format_name)
    with transaction.atomic():
        export, is_new = ReleaseExport.objects.get_or_create(
            release=release, format=format_name, defaults={"requested_by": requested_by}
        )
        is_lost = export.state == ReleaseExport.State.DONE and not file_of(export).is_file()
        over = ReleaseExport.State.DONE if is_lost else ReleaseExport.State.FAILED
        ended = ReleaseExport.objects.filter(pk=export.pk, state=over)
        is_again = ended.update(state=ReleaseExport.State.QUEUED, failure="") == 1
        if is_new or is_again:
            doorbell.ring_on_commit(make_export_task, export_id=export.pk)
    export.refresh_from_db()
    return export


def export_release(
    release: DatasetRelease, format_name: str, *, requested_by: Account | None = None
) -> ReleaseExport:
    """Make an export here and now, and return it done."""
    _check(release, format_name)
    export, _is_new = ReleaseExport.objects.get_or_create(
        release=release, format=format_name, defaults={"requested_by": requested_by}
    )
    return make_export(export)


def make_export(export: ReleaseExport) -> ReleaseExport:
    """Write the export's one file; safe to repeat after a crash at any point."""
    with _sole_maker(export) as is_mine:
        export.refresh_from_db()
        if not is_mine or export.state == ReleaseExport.State.DONE:
            return export
        try:
            _make(export)
        except (OSError, ExportRefused, ArtefactError, ValueError) as failure:
            fail(export, reason=str(failure))
            raise ExportRefused(f"export {export.format} failed: {failure}") from failure
    export.refresh_from_db()
    return export


def fail(export: ReleaseExport, *, reason: str) -> None:
    """Say that the export failed and why; it may be asked for again."""
    ReleaseExport.objects.filter(pk=export.pk).exclude(state=ReleaseExport.State.DONE).update(
        state=ReleaseExport.State.FAILED, failure=reason[:200], finished_at=now()
    )


def make_in_background(export_id: int) -> None:
    """A worker's way to make an export: the row tells how it ended, also when the code is wrong."""
    export = ReleaseExport.objects.select_related("release").filter(pk=export_id).first()
    if export is None:
        logger.warning("export %s is gone", export_id)
        return
    try:
        make_export(export)
    except ExportRefused as refusal:
        logger.warning("%s", refusal)
    except Exception as broken:  # process boundary: the row must tell the person waiting
        fail(export, reason=f"{type(broken).__name__}: {broken}")
        raise


def take_up_waiting() -> None:
    """Make every export that is wanted and that no living process holds."""
    states = [ReleaseExport.State.QUEUED, ReleaseExport.State.RUNNING]
    waiting = ReleaseExport.objects.filter(state__in=states).order_by("pk")
    for key in waiting.values_list("pk", flat=True):
        make_in_background(key)


def file_of(export: ReleaseExport) -> Path:
    """The file of an export that is done. Its place is ours; the name is for the reader only."""
    return exports_root() / str(export.pk) / "export.zip"


def downloadable_file(export: ReleaseExport, *, actor: Account) -> Path:
    """The export's file for this person, written into the audit; refused once people withdrew."""
    _check(export.release, export.format)
    path = file_of(export)
    if not path.is_file():
        request_export(export.release, export.format)
        raise ExportRefused(f"the file of export {export.format} is gone: it is being made again")
    audit.record(
        actor=actor, action="export.download", object_type="release_export",
        object_id=export.pk, detail={"release": export.release.name, "format": export.format},
    )  # fmt: skip
    return path


def exports_root() -> Path:
    """The folder of all exports."""
    return Path(settings.ARTEFACTS) / "exports"


def write_export(
    release: DatasetRelease,
    format_name: str,
    *,
    directory: Path,
    on_progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write the splits of a release that have rows in this format into a directory; `datasets` loads no empty file."""
    _check(release, format_name)
    verify_release(release)
    directory.mkdir(parents=True, exist_ok=True)
    done = 0
    paths = []
    for split in [each for each in SPLITS if release.counts.get(each)]:
        path = directory / f"{split}.{ENDINGS[format_name]}"
        draft = path.with_name(path.name + ".partial")
        with ExitStack() as stack:
            write = _writer(format_name, draft, stack)
            for row in _rows(release, split=split, has_people=format_name in NAMES_PEOPLE):
                write(row)
                done += 1
                if on_progress and done % PAGE == 0:
                    on_progress(done)
        fsync_path(draft)
        _put_in_place(draft, path)
        paths.append(path)
    return paths


def _put_in_place(draft: Path, path: Path) -> None:
    """Nothing that was written out before is replaced, save by the same bytes."""
    if path.exists() and file_sha256(path) != file_sha256(draft):
        draft.unlink()
        raise ExportRefused(f"{path} holds another export: choose an empty folder")
    draft.replace(path)


def _check(release: DatasetRelease, format_name: str) -> None:
    if format_name not in ENDINGS:
        raise ExportRefused(f"format {format_name!r}: one of {', '.join(ENDINGS)}")
    if release.state != DatasetRelease.State.FROZEN:
        raise ExportRefused(f"release {release.name} is not frozen: cut it first")
    if release.stale_at:
        raise ExportRefused(
            f"release {release.name} holds comparisons that were taken out since: cut a new release and export that"
        )


def _make(export: ReleaseExport) -> None:
    """One zip of both splits: both files in it load as they are."""
    release = export.release
    total = release.counts["train"] + release.counts["test"]
    rows = ReleaseExport.objects.filter(pk=export.pk)
    rows.update(state=ReleaseExport.State.RUNNING, rows_done=0, rows_total=total)
    final = file_of(export)
    work = final.with_name("work")
    shutil.rmtree(work, ignore_errors=True)
    paths = write_export(
        release, export.format, directory=work,
        on_progress=lambda done: _note_progress(export, done),
    )  # fmt: skip
    draft = final.with_name("export.zip.partial")
    with zipfile.ZipFile(draft, "w", compression=zipfile.ZIP_STORED) as archive:
        for path in paths:
            _add_to_zip(archive, path)
    fsync_path(draft)
    draft.replace(final)
    fsync_path(final.parent)
    shutil.rmtree(work)
    rows.update(
        state=ReleaseExport.State.DONE, rows_done=total, size=final.stat().st_size,
        sha256=file_sha256(final), file_name=f"{release.name}-{export.format}.zip",
        failure="", finished_at=now(),
    )  # fmt: skip


def _add_to_zip(archive: zipfile.ZipFile, path: Path) -> None:
    entry = zipfile.ZipInfo(path.name, date_time=ZIP_TIME)
    entry.external_attr = 0o640 << 16
    with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _note_progress(export: ReleaseExport, done: int) -> None:
    ReleaseExport.objects.filter(pk=export.pk).update(rows_done=done)


@contextmanager
def _sole_maker(export: ReleaseExport) -> Iterator[bool]:
    """Whether this process makes the export; the system lets go of the lock when it ends."""
    folder = file_of(export).parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _writer(format_name: str, path: Path, stack: ExitStack) -> Write:
    if format_name == "csv":
        return stack.enter_context(csv_writer(path))
    if format_name == "parquet":
        return stack.enter_context(parquet_writer(path, has_crowdworker=True))
    stream = stack.enter_context(gzip_writer(path))

    def write(row: Mapping[str, Any]) -> None:
        stream.write(line_of(_record(format_name, row)))

    return write


def _record(format_name: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    if format_name == "hh":
        return hh.record_of(ComparisonRow(**row))
    if format_name == "trl":
        return trl.record_of(ComparisonRow(**row))
    return row


def _rows(release: DatasetRelease, *, split: str, has_people: bool) -> Iterator[dict[str, Any]]:
    with opened(directory_of(release) / f"{split}.jsonl.gz") as stream:
        rows = (record_of_line(line) for _number, line in numbered_lines(stream))
        if not has_people:
            yield from rows
            return
        while page := list(islice(rows, PAGE)):
            yield from _with_pseudonyms(page, release=release)


def _with_pseudonyms(
    rows: Iterable[dict[str, Any]], *, release: DatasetRelease
) -> Iterator[dict[str, Any]]:
    """Name each row's person by a pseudonym of this release; it joins to nothing outside it."""
    page = list(rows)
    people = dict(
        Comparison.objects.filter(
            public_id__in=[row["comparison"] for row in page], crowdworker__isnull=False
        ).values_list("public_id", "crowdworker__public_id")
    )
    by_text = {str(comparison): str(person) for comparison, person in people.items()}
    for row in page:
        person = by_text.get(row["comparison"])
        yield {**row, "crowdworker": person and pseudonym(person, release=release)}


def pseudonym(crowdworker: str, *, release: DatasetRelease) -> str:
    """A keyed hash of a crowdworker's public id; another release gives another pseudonym."""
    key = f"export-pseudonym:{release.manifest_sha256}:{settings.SECRET_KEY}".encode()
    return "cw-" + hmac.new(key, crowdworker.encode(), sha256).hexdigest()[:16]
