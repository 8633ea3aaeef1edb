"""`manage.py roll_back --slot NAME`: undo the newest promotion, as the console does.

Parses arguments and prints the places after it. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modelserving import promotion
from modelserving.finding import NotFound, slot_named
from modelserving.shifts import shifts_of
from training import trials


class Command(BaseCommand):
    """Roll a slot back."""

    help = (
        "Undo the newest promotion of a slot: its places become exactly what they were before it. "
        "Shares changed and trials begun since are undone as well; those that leave are named."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--slot", metavar="NAME", help="may be left out where there is one slot"
        )
        parser.add_argument("--reason", default="", help="kept with the event")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            slot = slot_named(options["slot"])
            event = trials.roll_back(
                slot, expected_generation=slot.generation, actor=None, reason=options["reason"]
            )
        except (NotFound, promotion.NothingToRollBack, promotion.PromotionRace) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{event.deployment.name} serves {slot.name} again")
        for shift in shifts_of(event):
            if shift.leaves:
                self.stdout.write(f"  {shift.name} left the slot (it was {shift.was})")
        for line in promotion.described_places(slot):
            self.stdout.write(f"  {line}")
