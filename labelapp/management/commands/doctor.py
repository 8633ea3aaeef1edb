"""`manage.py doctor`: look whether every promise holds; says what is wrong and how to mend it.

Knows how to print; the checks are in `labelapp.doctor`.
"""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from labelapp.doctor.examining import Result, examine


class Command(BaseCommand):
    """Examine database, files and services."""

    help = "Check every invariant that can be checked; exit code 1 when one does not hold."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Options."""
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
        parser.add_argument(
            "--stored", action="store_true", help="what is stored only, not what should be running"
        )

    def handle(self, **options: Any) -> None:
        """Run."""
        results = []
        for result in examine(is_stored_only=options["stored"]):
            results.append(result)
            if not options["json"]:
                self._print(result)
        is_good = all(result.is_good for result in results)
        if options["json"]:
            self.stdout.write(json.dumps({"is_good": is_good, "checks": _plain(results)}, indent=1))
        else:
            self.stdout.write("all is well" if is_good else "something is wrong: see above")
        if not is_good:
            sys.exit(1)

    def _print(self, result: Result) -> None:
        mark = "ok   " if result.is_good else "WRONG"
        self.stdout.write(f"{mark} {result.check.name:<16} {result.check.promise}")
        for finding in result.findings:
            self.stdout.write(f"      {finding.severity}: {finding.what}")
            self.stdout.write(f"      to mend it: {finding.cure}")


def _plain(results: list[Result]) -> list[dict[str, Any]]:
    return [
        {
            "name": result.check.name,
            "promise": result.check.promise,
            "is_good": result.is_good,
            "findings": [
                {"severity": f.severity, "what": f.what, "cure": f.cure} for f in result.findings
            ],
        }
        for result in results
    ]
