"""`manage.py export_release NAME --format hh --to DIR`: write a release as loadable files.

Parses arguments and prints paths. Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.
"""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from comparisons.models import DatasetRelease
from comparisons.services.exporting import ENDINGS, ExportRefused, write_export
from comparisons.services.releasing import ReleaseRefused
from modelserving.core.artifacts import ArtefactError, file_sha256


class Command(BaseCommand):
    """Export a frozen release into a directory."""

    help = "Write train and test of release NAME into DIR; datasets.load_dataset reads them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--format", choices=sorted(ENDINGS), default="hh")
        parser.add_argument("--to", metavar="DIR", required=True)

    def handle(self, *_args: Any, **options: Any) -> None:
        release = DatasetRelease.objects.filter(name=options["name"]).first()
        if release is None:
            raise CommandError(f"no release is called {options['name']!r}")
        try:
            paths = write_export(release, options["format"], directory=Path(options["to"]))
        except OSError as failure:
            cure = "choose a folder that can be written with --to"
            raise CommandError(f"{options['to']}: {failure.strerror}: {cure}") from None
        except (ExportRefused, ReleaseRefused, ArtefactError) as failure:
            raise CommandError(str(failure)) from None
        for path in paths:
            self.stdout.write(f"{path}  {path.stat().st_size:,} bytes  sha256 {file_sha256(path)}")
