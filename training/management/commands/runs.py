"""`manage.py runs`: training runs, newest first, with state, progress and headline.

Parses arguments and prints a line each.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from training import queries
from training.models import TrainingRun


class Command(BaseCommand):
    """List training runs."""

    help = "List training runs, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--state", choices=TrainingRun.State.values, default="")
        parser.add_argument("--kind", choices=TrainingRun.Kind.values, default="")
        parser.add_argument("--most", type=int, default=20, metavar="N", help="20 if left out")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = queries.runs(kind=options["kind"], state=options["state"])[: options["most"]]
        for run in found:
            line = queries.line(run)
            words = [f"{run.pk:>5}", str(run.public_id), f"{run.get_kind_display():<22}"]
            tail = [queries.state_words(run), run.name, line.headline]
            self.stdout.write("  ".join([*words, " · ".join(each for each in tail if each)]))
        if not found:
            self.stdout.write("No run yet, or none of this kind and state.")
