"""`manage.py prepare`: bring the database and files up to this version; ./start calls it.

Prints one line of JSON for the supervisor: what to load first and what to tell the person.
"""

import json
import logging
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from comparisons.models import Account
from comparisons.services import accounts
from labelapp.static_files import collect_when_changed
from modelserving import registry
from modelserving.models import SlotDeployment

FIRST_ADMINISTRATOR = "admin"


class Command(BaseCommand):
    """Migrate, gather static files, register the starter checkpoint, make the demo if asked."""

    help = "Bring the database and files up to this version (./start does this by itself)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Options."""
        parser.add_argument("--demo", action="store_true", help="make the demo content too")

    def handle(self, **options: Any) -> None:
        """Run."""
        logging.getLogger("django.db.backends.schema").setLevel(logging.WARNING)
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except DatabaseError as refused:
            raise CommandError(f"the database refused: {refused}") from refused
        if not settings.DEBUG:
            collect_when_changed()
        registry.ensure_starter()
        lines = self._first_sign_in()
        if options["demo"]:
            from labelapp.demo.making import make_demo  # noqa: PLC0415 -- not needed by most starts

            lines += make_demo()
        self.stdout.write(json.dumps({"checkpoints": served_checkpoints(), "lines": lines}))

    def _first_sign_in(self) -> list[str]:
        if Account.objects.filter(role=Account.Role.ADMINISTRATOR).exists():
            return []
        administrator = accounts.create_account(
            username=FIRST_ADMINISTRATOR, role=Account.Role.ADMINISTRATOR
        )
        path = accounts.make_sign_in_link(administrator)
        return [
            f"first sign-in as administrator, works once: {settings.PUBLIC_URL}{path}",
            f"  (a new one later: ./start manage sign_in_link {FIRST_ADMINISTRATOR})",
        ]


def served_checkpoints() -> list[str]:
    """Hashes of what the slots serve now, rankers too, so that it is loaded before anyone asks."""
    places = SlotDeployment.objects.exclude(role=SlotDeployment.Role.RETIRED)
    columns = ("deployment__checkpoint__hash", "deployment__ranker__hash")
    hashes = {each for row in places.values_list(*columns) for each in row if each}
    return sorted(hashes)
