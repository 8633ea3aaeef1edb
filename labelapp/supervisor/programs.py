"""The list of processes that make one instance, with their commands and environments.

Knows every command line; knows nothing of starting or stopping them.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from labelapp.supervisor.child import Program
from labelapp.supervisor.options import Options
from labelapp.supervisor.places import ROOT, Places
from labelapp.supervisor.redis_choice import RedisChoice

Command = tuple[str, ...]
PYTHON = sys.executable
WORKER = (PYTHON, "-m", "celery", "-A", "labelapp", "worker", "--loglevel", "INFO")
QUIET = ("--without-gossip", "--without-mingle")
SECRETS = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "DATABASE_URL", "REDIS_URL")
TRAINING_GRACE = 30.0  # it ends its trainer first, which writes where it stands


@dataclass(frozen=True, kw_only=True)
class Services:
    """Addresses that the Django processes need, and which of them we run ourselves."""

    redis: RedisChoice
    modelserver_urls: str
    has_own_modelserver: bool


def services_of(places: Places, *, redis: RedisChoice, environment: Mapping[str, str]) -> Services:
    """Our own model server unless MODELSERVER_URLS names others."""
    given = environment.get("MODELSERVER_URLS", "").strip()
    return Services(
        redis=redis,
        modelserver_urls=given or f"unix://{places.modelserver_socket}",
        has_own_modelserver=not given,
    )


def django_environment(
    environment: Mapping[str, str], *, places: Places, options: Options, services: Services
) -> dict[str, str]:
    """What web, workers and management commands see."""
    return {
        **environment,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "labelapp.settings",
        "LABELAPP_VAR": str(places.var),
        "ARTEFACTS": str(places.artefacts),
        "PUBLIC_URL": options.public_url,
        "REDIS_URL": services.redis.url,
        "MODELSERVER_URLS": services.modelserver_urls,
    }


def redis_program(services: Services, environment: Mapping[str, str]) -> list[Program]:
    """Our own Redis, unless somebody else runs one."""
    command = services.redis.command
    return [Program(name="redis", command=command, environment=environment)] if command else []


def modelserver_secret(environment: Mapping[str, str], *, places: Places) -> str:
    """What the model server and those who ask it share: the variable, else the file made for it."""
    given = environment.get("MODELSERVER_SECRET", "").strip()
    return given or places.modelserver_secret.read_text().strip()


def modelserver_program(
    environment: Mapping[str, str], *, places: Places, services: Services
) -> list[Program]:
    """Our own model server: it gets neither the database nor the site's secret."""
    if not services.has_own_modelserver:
        return []
    command: Command = (
        PYTHON,
        "-m",
        "modelserving.server",
        "--uds",
        str(places.modelserver_socket),
    )
    command += ("--checkpoints-root", str(places.artefacts / "checkpoints"))
    if not environment.get("MODELSERVER_SECRET", "").strip():
        command += ("--secret-file", str(places.modelserver_secret))  # it beats the variable
    command += ("--device", environment.get("DEVICE") or "auto")
    command += ("--log-level", (environment.get("LOG_LEVEL") or "info").lower())
    bare = {name: value for name, value in environment.items() if name not in SECRETS}
    return [Program(name="models", command=command, environment=bare)]


def django_programs(environment: Mapping[str, str], *, options: Options) -> list[Program]:
    """Web, the three workers and beat."""
    web: Command = (PYTHON, "-m", "labelapp.listening")
    web += ("--host", options.host, "--port", str(options.port))
    beat = (PYTHON, "-m", "celery", "-A", "labelapp", "beat", "--pidfile=", "--loglevel", "INFO")
    return [
        Program(name="web", command=web, environment=environment),
        _worker("generation", environment, threads=options.threads),
        _worker("default", environment, threads=2),
        _worker("training", environment, threads=1, grace=TRAINING_GRACE),
        Program(name="beat", command=beat, environment=environment),
    ]


def _worker(
    queue: str, environment: Mapping[str, str], *, threads: int, grace: float = 10.0
) -> Program:
    pool = ("--pool", "threads", "-c", str(threads))
    return Program(
        name=queue,
        command=(*WORKER, *QUIET, "-Q", queue, "-n", f"{queue}@%h", *pool),
        environment=environment,
        ready_line=" ready.",
        grace=grace,
    )
