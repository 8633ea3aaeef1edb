"""`manage.py cut_release NAME`: freeze comparisons into a release, as the console does.

Parses arguments and prints counts. Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.
"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from comparisons.models import DatasetRelease
from comparisons.models.campaign import Objective, Tranche
from comparisons.queries.releases import ReleaseFilters, suggested_test_percent
from comparisons.services.releasing import ReleaseRefused, cut_release, directory_of


class Command(BaseCommand):
    """Cut a dataset release and freeze it."""

    help = "Cut a dataset release NAME: split by first human message, hashed, never changed after."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--test-percent",
            type=int,
            default=None,
            help="share of test (default: the newest release's, so that no message moves; of the first 20; the paper: 5)",
        )
        parser.add_argument("--objective", action="append", choices=Objective.values, default=[])
        parser.add_argument("--tranche", action="append", choices=Tranche.values, default=[])
        parser.add_argument("--include-simulated", action="store_true")
        parser.add_argument(
            "--without-source",
            action="append",
            default=[],
            metavar="NAME",
            help="leave out what was imported from NAME, as the page of imports names it, "
            "or only NAME@OBJECTIVE/TRANCHE; may be repeated",
        )
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        filters = ReleaseFilters(
            objectives=tuple(options["objective"]),
            tranches=tuple(options["tranche"]),
            has_simulated=options["include_simulated"],
            without_sources=tuple(options["without_source"]),
        )
        percent = options["test_percent"]
        if percent is None:
            percent = suggested_test_percent()
        try:
            release = cut_release(options["name"], test_percent=percent, filters=filters)
        except ReleaseRefused as refusal:
            raise CommandError(str(refusal)) from None
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "name": release.name,
                        "sha256": release.manifest_sha256,
                        "directory": str(directory_of(release)),
                        **release.counts,
                    },
                    indent=2,
                )
            )
            return
        self._print(release)

    def _print(self, release: DatasetRelease) -> None:
        counts = release.counts
        self.stdout.write(
            f"{release.name}: frozen, train {counts['train']:,}, test {counts['test']:,}, "
            f"sha256 {release.manifest_sha256[:12]}…, in {directory_of(release)}"
        )
        for group in counts["by"]:
            self.stdout.write(
                f"  {group['objective']} {group['tranche']}: "
                f"train {group['train']:,}, test {group['test']:,}"
            )
        for reason, count in counts["left_out"].items():
            self.stdout.write(f"  left out, {counts['left_out_words'][reason]}: {count:,}")
