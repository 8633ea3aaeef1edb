"""`manage.py put_on_trial DEPLOYMENT --slot NAME --traffic PERCENT`, as the console does.

Parses arguments and prints the places after it. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modelserving import promotion
from modelserving.core.traffic import PlacesError
from modelserving.finding import NotFound, deployment_named, slot_named
from training import trials


class Command(BaseCommand):
    """Put a deployment on trial."""

    help = "Give a deployment a share of a slot's traffic; it must answer first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deployment", metavar="DEPLOYMENT")
        parser.add_argument(
            "--slot", metavar="NAME", help="may be left out where there is one slot"
        )
        parser.add_argument("--traffic", type=int, default=20, metavar="PERCENT")
        parser.add_argument("--reason", default="", help="kept with the event")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            slot, deployment = slot_named(options["slot"]), deployment_named(options["deployment"])
            trials.put_on_trial(
                slot, deployment, traffic=options["traffic"], actor=None, reason=options["reason"]
            )
        except (NotFound, PlacesError, promotion.GateNotMet, promotion.PromotionRace) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{deployment.name} is on trial in {slot.name}")
        for line in promotion.described_places(slot):
            self.stdout.write(f"  {line}")
