"""`manage.py sign_in_link NAME`: a one-time link into an account.

Knows the account service; the page behind the link is the web's.
"""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from comparisons.models import Account
from comparisons.services import accounts, onboarding


class Command(BaseCommand):
    """Make an account when asked to, and a link into it."""

    help = "Print a one-time sign-in link for an account; --create ROLE makes the account first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Options."""
        parser.add_argument("username")
        parser.add_argument("--create", metavar="ROLE", choices=Account.Role.values)

    def handle(self, **options: Any) -> None:
        """Run."""
        name = options["username"]
        if options["create"]:
            try:
                _create(name, role=options["create"])
            except accounts.AccountExists as taken:
                raise CommandError(str(taken)) from None
        account = Account.objects.filter(username=name, is_active=True).first()
        if account is None:
            raise CommandError(f"there is no active account {name!r}: add --create ROLE to make it")
        self.stdout.write(settings.PUBLIC_URL + accounts.make_sign_in_link(account))


def _create(name: str, *, role: str) -> None:
    """The account, and for a crowdworker the profile without which no page opens."""
    with transaction.atomic():
        account = accounts.create_account(username=name, role=role)
        if account.role == Account.Role.CROWDWORKER:
            onboarding.make_crowdworker(account)
