"""`manage.py iterate`: begin an iteration of the online loop, or go on with the open one.

Parses arguments and prints the steps. Exit codes: 0 looked, 1 refused, 2 wrong arguments.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from comparisons.services.releasing import ReleaseRefused
from modelserving.models import Slot
from training import iterations, online_loop
from training.models import Iteration


class Command(BaseCommand):
    """Let the online loop go as far as it can."""

    help = "Go on with the open iteration; --begin SLOT opens the next one first."

    def add_arguments(self, parser: CommandParser) -> None:
        """What can be asked for."""
        parser.add_argument(
            "--begin", default="", metavar="SLOT", help="open the next iteration on this slot"
        )
        parser.add_argument("--fewest-new", type=int, default=iterations.LoopSettings.fewest_new)
        parser.add_argument("--policies", type=int, default=1, help="how many policies to train")
        parser.add_argument(
            "--without-source", action="append", default=[], metavar="NAME",
            help="leave out what was imported from it (again for more), as cut_release does",
        )  # fmt: skip
        parser.add_argument("--promote-by-itself", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run."""
        if options["begin"]:
            slot = Slot.objects.filter(name=options["begin"]).first()
            if slot is None:
                raise CommandError(f"No slot is called {options['begin']!r}.")
            wanted = iterations.LoopSettings(
                fewest_new=options["fewest_new"], policy_seeds=tuple(range(options["policies"])),
                promotes_by_itself=options["promote_by_itself"],
                without_sources=tuple(options["without_source"]),
            )  # fmt: skip
            try:
                online_loop.begin(slot=slot, wanted=wanted, actor=None)
            except (online_loop.LoopRefused, ReleaseRefused) as refused:
                raise CommandError(str(refused)) from None
        online_loop.advance_all()
        newest = Iteration.objects.order_by("-number").first()
        if newest is None:
            raise CommandError("No iteration yet. Begin one: manage.py iterate --begin SLOT")
        self.stdout.write(f"Iteration {newest.number}: {newest.get_state_display()}")
        for step in iterations.steps(newest):
            self.stdout.write(f"  {step.label:<17} {step.state:<8} {step.outcome}")
