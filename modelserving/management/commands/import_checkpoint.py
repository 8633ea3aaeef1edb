"""`manage.py import_checkpoint DIR|HUB_NAME`: take in a model from outside, safetensors and JSON only.

Parses arguments and prints one line. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modelserving.finding import NotFound, checkpoint_named
from modelserving.importing import FORMATS, import_checkpoint
from modelserving.registry import CheckpointNotRegistered, directory_of


class Command(BaseCommand):
    """Import a checkpoint."""

    help = "Make a checkpoint of a model directory or a Hugging Face hub name (owner/model)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", metavar="DIR|HUB_NAME")
        parser.add_argument("--name", help="how it is listed; default: the directory's or model's")
        parser.add_argument(
            "--dialogue",
            choices=FORMATS,
            help="how it reads dialogues; default: its chat template, else HH text",
        )
        parser.add_argument(
            "--base", help="of an adapter: the checkpoint it is added to, by name or hash"
        )
        parser.add_argument("--json", action="store_true", help="print the checkpoint as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            base = checkpoint_named(options["base"]) if options["base"] else None
            checkpoint = import_checkpoint(
                options["source"],
                name=options["name"],
                dialogue_format=options["dialogue"],
                base=base,
            )
        except (CheckpointNotRegistered, NotFound) as refused:
            raise CommandError(str(refused)) from None
        if options["json"]:
            stored = {
                "name": checkpoint.name, "hash": checkpoint.hash, "kind": checkpoint.kind,
                "parameters": checkpoint.parameters, "directory": str(directory_of(checkpoint)),
            }  # fmt: skip
            self.stdout.write(json.dumps(stored, indent=2))
            return
        self.stdout.write(
            f"{checkpoint.name}: {checkpoint.get_kind_display()}, {checkpoint.parameters:,} parameters, "
            f"checkpoint {checkpoint.hash[:12]}"
        )
