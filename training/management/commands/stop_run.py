"""`manage.py stop_run RUN`: ask a run to end after its step, as the console does.

Parses arguments and prints one line. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training import queries
from training.services import request_stop


class Command(BaseCommand):
    """Stop a run."""

    help = (
        "Ask a training run to end after its step; what it has learned is evaluated and published."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", metavar="RUN", help="its number, its id or the beginning of it")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = queries.runs_called(options["run"])
        if len(found) != 1:
            going = ", ".join(f"{run.pk} ({run.public_id})" for run in queries.going()) or "none"
            why = "several runs begin so" if found else "no run is called so"
            raise CommandError(f"{options['run']}: {why}; running or queued: {going}.")
        (run,) = found
        request_stop(run, actor=None)
        run.refresh_from_db()
        self.stdout.write(
            f"run {run.pk} ({run.get_kind_display()}): {run.get_state_display()}, asked to stop"
        )
