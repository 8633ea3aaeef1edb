"""`manage.py adapter load|unload NAME --endpoint URL`: hot LoRA adapters of an outside vLLM server.

Parses arguments and prints one line. Exit codes: 0 done, 1 refused, 2 wrong arguments.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from modelserving.client.adapters import load_adapter, unload_adapter
from modelserving.client.endpoints import outside_endpoint
from modelserving.client.errors import EndpointError
from modelserving.deployments import DeploymentRefused, check_endpoint


class Command(BaseCommand):
    """Load or unload an adapter."""

    help = "Have an allowed vLLM endpoint load or unload a LoRA adapter while it serves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("load", "unload"))
        parser.add_argument("name", metavar="NAME", help="the model name that deployments give")
        parser.add_argument("--endpoint", metavar="URL", required=True, help="…/v1")
        parser.add_argument("--path", default="", help="the adapter's directory on the vLLM host")
        parser.add_argument("--secret-env", default="", metavar="ENDPOINT_SECRET_…")

    def handle(self, *_args: Any, **options: Any) -> None:
        if (options["action"] == "load") != bool(options["path"]):
            raise CommandError("load needs --path, unload has none", returncode=2)
        url, name = options["endpoint"].rstrip("/"), options["name"]
        try:
            check_endpoint(url)
            endpoint = outside_endpoint(url, secret_env=options["secret_env"])
            if options["action"] == "load":
                load_adapter(endpoint, name=name, path=options["path"])
            else:
                unload_adapter(endpoint, name=name)
        except (DeploymentRefused, EndpointError) as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{name}: {options['action']}ed at {url}")
