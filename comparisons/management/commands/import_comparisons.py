"""`manage.py import_comparisons`: bring comparisons in from files or from the public hub.

Parses arguments and prints the report; the import itself is a service.
Exit codes: 0 done, 1 could not run, 2 wrong arguments, 3 done but some lines could not be read.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import IO, Any
from zlib import error as ZlibError

from django.core.management.base import BaseCommand, CommandError, CommandParser

from comparisons.formats.lines import numbered_lines, opened
from comparisons.formats.readers import READERS
from comparisons.models.campaign import Objective, Tranche
from comparisons.services.importing import ImportRefused, ImportReport, import_lines

HUB_FILES = {  # the public repository's folders: objective, tranche
    "helpful-base": (Objective.HELPFUL, Tranche.BASE),
    "helpful-rejection-sampled": (Objective.HELPFUL, Tranche.REJECTION_SAMPLED),
    "helpful-online": (Objective.HELPFUL, Tranche.ONLINE),
    "harmless-base": (Objective.HARMLESS, Tranche.BASE),
}
ELSEWHERE = (
    "  {count:,} of them are already here under another tranche or objective, or came in another "
    "format: a release holds them twice unless you cut it with --without-source"
)
SHOWN_LINES = 12  # line numbers named per kind; --json names all


class Command(BaseCommand):
    """Import comparisons from a file of JSON lines (gzip or plain), or from the hub."""

    help = "Import comparisons from FILE (gzip or plain JSON lines, - for standard input)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="*", metavar="FILE")
        parser.add_argument("--format", choices=sorted(READERS), default="hh")
        parser.add_argument("--objective", choices=Objective.values)
        parser.add_argument("--tranche", choices=Tranche.values, default=Tranche.BASE.value)
        parser.add_argument("--source", default="", help="where the file is from, kept per row")
        parser.add_argument("--from-hub", metavar="REPOSITORY", help="e.g. Anthropic/hh-rlhf")
        parser.add_argument("--split", choices=["train", "test", "both"], default="both")
        parser.add_argument("--json", action="store_true", help="print the reports as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        if bool(options["files"]) == bool(options["from_hub"]):
            raise CommandError("name one or more files, or --from-hub REPOSITORY", returncode=2)
        if options["from_hub"]:
            work = list(self._hub_work(options))
        else:
            work = [self._file_work(name, options) for name in options["files"]]
        reports = []
        for name, path, objective, tranche in work:
            reports.append(
                self._import(
                    name=name, path=path, objective=objective, tranche=tranche, options=options
                )
            )
        if options["json"]:
            self.stdout.write(json.dumps(reports, indent=2))
        if any(report["bad"] for report in reports):
            raise CommandError("some lines could not be read; the rest is imported", returncode=3)

    def _file_work(self, name: str, options: dict[str, Any]) -> tuple[str, Path | None, str, str]:
        if not options["objective"] and options["format"] != "rich":
            raise CommandError("--objective helpful or --objective harmless?", returncode=2)
        path = None if name == "-" else Path(name)
        if path and path.is_dir():
            raise CommandError(
                f"{name} is a folder: name its files, as {name.rstrip('/')}/*.jsonl.gz"
            )
        if path and not path.is_file():
            raise CommandError(f"{name}: no such file")
        objective = options["objective"] or Objective.HELPFUL.value  # rich rows carry their own
        return options["source"] or Path(name).name, path, objective, options["tranche"]

    def _hub_work(self, options: dict[str, Any]) -> Iterator[tuple[str, Path, str, str]]:
        splits = ["train", "test"] if options["split"] == "both" else [options["split"]]
        for folder, (objective, tranche) in HUB_FILES.items():
            if options["objective"] not in {None, objective.value}:
                continue
            for split in splits:
                path = _fetched(options["from_hub"], f"{folder}/{split}.jsonl.gz")
                yield f"{options['from_hub']}/{folder}/{split}", path, objective, tranche

    def _import(
        self, *, name: str, path: Path | None, objective: str, tranche: str, options: dict[str, Any]
    ) -> dict[str, Any]:
        began = monotonic()
        try:
            with _stream(path) as stream:
                report = import_lines(
                    numbered_lines(stream), reader=options["format"], objective=objective,
                    tranche=tranche, source=name,
                    on_progress=None if options["json"] else self._progress(name),
                )  # fmt: skip
        except ImportRefused as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        except (OSError, EOFError, ZlibError) as broken:
            raise CommandError(
                f"{name}: the file breaks off ({broken}). What stood before is imported; "
                "get the file anew and run this again: nothing is doubled"
            ) from None
        if not options["json"]:
            self._print(report, name=name, seconds=monotonic() - began)
        return {"file": name, **report.to_dict()}

    def _progress(self, name: str) -> Any:
        if not self.stderr.isatty():
            return None

        def show(report: ImportReport) -> None:
            self.stderr.write(f"\r{name}: {report.lines:,} lines", ending="")

        return show

    def _print(self, report: ImportReport, *, name: str, seconds: float) -> None:
        if self.stderr.isatty():
            self.stderr.write("\r", ending="")
        self.stdout.write(
            f"{name}: {report.imported:,} imported of {report.lines:,} lines in {seconds:.1f} s"
        )
        if report.already_there:
            self.stdout.write(f"  already there: {report.already_there:,}")
        if report.already_elsewhere:
            self.stdout.write(ELSEWHERE.format(count=report.already_elsewhere))
        for label, numbers in (
            ("left out, both replies the same", report.same_text),
            ("kept, the two texts part early or hold a turn marker", report.odd),
            ("kept, one reply is empty", report.empty_reply),
        ):
            if numbers:
                self.stdout.write(f"  {label}: {len(numbers):,} (lines {_some(numbers)})")
        if report.advice:  # no line could be read
            number, reason = report.bad[0]
            self.stdout.write(f"  line {number} not imported: {reason}; nor any other line")
            self.stdout.write(f"  {report.advice}")
            return
        for number, reason in report.bad[:SHOWN_LINES]:
            self.stdout.write(f"  line {number} not imported: {reason}")
        if len(report.bad) > SHOWN_LINES:
            self.stdout.write(f"  and {len(report.bad) - SHOWN_LINES:,} more; --json names all")


def _some(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:SHOWN_LINES])
    return shown + (" …" if len(numbers) > SHOWN_LINES else "")


@contextmanager
def _stream(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdin.buffer
        return
    with opened(path) as stream:
        yield stream


def _fetched(repository: str, name: str) -> Path:
    """The hub's file on this machine; fetched once and then kept by the hub's own library."""
    try:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 -- slow import, optional
    except ImportError:
        raise CommandError("--from-hub needs the package huggingface_hub") from None
    import httpx  # noqa: PLC0415 -- only for the names of its errors

    try:
        return Path(hf_hub_download(repository, name, repo_type="dataset"))
    except (OSError, ValueError, httpx.HTTPError) as failure:
        first = str(failure).strip().splitlines() or [type(failure).__name__]
        raise CommandError(
            f"{repository}/{name} could not be fetched: {first[0]} Without a network, copy the "
            "files here by hand and name them instead of --from-hub"
        ) from None
