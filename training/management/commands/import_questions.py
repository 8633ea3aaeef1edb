"""`manage.py import_questions FILE --name NAME`: bring in multiple-choice questions for evaluation runs.

Parses arguments and prints one line. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.core.questions import FORMS
from training.question_sets import QuestionsRefused, take_in


class Command(BaseCommand):
    """Import a question set."""

    help = (
        "Make a question set of a JSONL or JSON file (may end in .gz), such as HHH, TruthfulQA or ARC; "
        f"each question has {FORMS}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--name", required=True, help="how runs name it, such as hhh")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            count = take_in(options["file"], name=options["name"])
        except QuestionsRefused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{options['name']}: {count:,} questions")
