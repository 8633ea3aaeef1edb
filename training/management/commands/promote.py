"""`manage.py promote DEPLOYMENT --slot NAME`: let a deployment serve, on the evidence the console shows.

Parses arguments, prints the evidence and the places. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modelserving import promotion
from modelserving.core.evidence import Condition, Evidence
from modelserving.core.traffic import PlacesError
from modelserving.finding import NotFound, deployment_named, slot_named
from modelserving.generation import answers
from training import trials
from training.evidence import evidence_for


class Command(BaseCommand):
    """Promote a deployment."""

    help = "Let a deployment serve a slot; what served before retires and waits for roll_back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deployment", metavar="DEPLOYMENT")
        parser.add_argument(
            "--slot", metavar="NAME", help="may be left out where there is one slot"
        )
        parser.add_argument("--reason", default="", help="kept with the event")
        parser.add_argument(
            "--force", action="store_true", help="pass over the gates; needs --reason"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            slot, deployment = slot_named(options["slot"]), deployment_named(options["deployment"])
            reply = answers(deployment)
            if reply.standing != "met":  # not even force lets a silent deployment serve
                raise CommandError(f"{deployment.name} does not answer: {reply.says}")
            evidence = evidence_for(slot, deployment).plus(reply)
            self._print(evidence)
            trials.promote(
                slot, deployment, expected_generation=slot.generation, actor=None,
                reason=options["reason"], is_forced=options["force"],
            )  # fmt: skip
        except (NotFound, PlacesError, promotion.GateNotMet, promotion.PromotionRace) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{deployment.name} serves {slot.name}")
        for line in promotion.described_places(slot):
            self.stdout.write(f"  {line}")

    def _print(self, evidence: Evidence) -> None:
        for condition in evidence.conditions:
            self.stdout.write(f"  {_line(condition)}")


def _line(condition: Condition) -> str:
    found = (
        "" if condition.found is None else f" {condition.found:.1f} against {condition.bound:.1f}"
    )
    says = f" ({condition.says})" if condition.says else ""
    return f"{condition.standing.replace('_', ' ')}: {condition.name}{found}{says}"
