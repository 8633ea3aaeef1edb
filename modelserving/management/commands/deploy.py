"""`manage.py deploy NAME --checkpoint HASH|NAME`: make a deployment, with a ranker for best-of-k.

Parses arguments and prints one line. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modelserving.deployments import (
    DeploymentRefused,
    create_deployment,
    create_endpoint_deployment,
)
from modelserving.finding import NotFound, checkpoint_named


class Command(BaseCommand):
    """Make a deployment."""

    help = "Make a deployment of a checkpoint of ours, or of an outside OpenAI-compatible endpoint."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--checkpoint", metavar="HASH|NAME")
        parser.add_argument("--endpoint", metavar="URL", help="…/v1 of an allowed outside endpoint")
        parser.add_argument("--model", default="", help="the model's name at the endpoint")
        parser.add_argument("--secret-env", default="", metavar="ENDPOINT_SECRET_…")
        parser.add_argument("--ranker", metavar="HASH|NAME", help="a preference model")
        parser.add_argument("--best-of", type=int, default=1, metavar="K")
        parser.add_argument("--temperature", type=float, default=1.0)
        parser.add_argument("--top-p", type=float, default=1.0)
        parser.add_argument("--max-new-tokens", type=int, default=128)

    def handle(self, *_args: Any, **options: Any) -> None:
        if bool(options["checkpoint"]) == bool(options["endpoint"]):
            raise CommandError("give either --checkpoint or --endpoint", returncode=2)
        shared = {
            "name": options["name"], "temperature": options["temperature"],
            "top_p": options["top_p"], "max_new_tokens": options["max_new_tokens"],
            "best_of": options["best_of"],
        }  # fmt: skip
        try:
            ranker = checkpoint_named(options["ranker"]) if options["ranker"] else None
            if options["checkpoint"]:
                checkpoint = checkpoint_named(options["checkpoint"])
                made = create_deployment(checkpoint=checkpoint, ranker=ranker, **shared)
            else:
                made = create_endpoint_deployment(
                    endpoint_url=options["endpoint"], endpoint_model=options["model"],
                    endpoint_secret_env=options["secret_env"], ranker=ranker, **shared,
                )  # fmt: skip
        except (NotFound, DeploymentRefused) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"deployment {made.name} ({made.public_id})")
