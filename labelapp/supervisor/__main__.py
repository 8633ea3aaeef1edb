"""`python -m labelapp.supervisor`: what ./start hands its words to.

Knows the words; the work is done next door.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from labelapp.supervisor import programs
from labelapp.supervisor.options import USAGE, read_options
from labelapp.supervisor.places import (
    ROOT,
    CannotStart,
    prepare_places,
    refuse_another_database,
    take_lock,
)
from labelapp.supervisor.redis_choice import choose_redis
from labelapp.supervisor.running import Instance

BENCHES = {
    "training": "training.bench",
    "serving": "modelserving.bench",
    "web": "labelapp.bench",
}


def main(words: Sequence[str]) -> int:
    """Dispatch; returns the exit code."""
    called_from = os.environ.pop("CALLED_FROM", "")  # ./start came here from there
    os.chdir(ROOT)
    command = words[0] if words else "run"
    if command in {"--help", "-h", "help"}:
        sys.stdout.write(USAGE)
        return 0
    if command == "manage":
        return _manage(words[1:], called_from=called_from)
    if command == "bench":
        return _bench(words[1:], called_from=called_from)
    if command == "test":
        from labelapp.supervisor.checking import run_checks  # noqa: PLC0415 -- only for tests

        return run_checks(words[1:])
    return _run(words)


def _manage(words: Sequence[str], *, called_from: str) -> int:
    refuse_another_database(os.environ)
    with suppress(OSError):  # gone by now, or not for this user to enter: then from here
        os.chdir(called_from or ROOT)
    os.execv(programs.PYTHON, [programs.PYTHON, str(ROOT / "manage.py"), *words])  # noqa: S606 -- no shell is wanted


def _run(words: Sequence[str]) -> int:
    os.umask(0o077)
    options = read_options(words, os.environ)
    places = prepare_places(os.environ)
    lock = take_lock(places, address=options.public_url)
    redis = choose_redis(places, os.environ)
    services = programs.services_of(places, redis=redis, environment=os.environ)
    environment = programs.django_environment(
        os.environ, places=places, options=options, services=services
    )
    instance = Instance(places=places, options=options, services=services, environment=environment)
    with lock:
        return asyncio.run(instance.run())


def _bench(words: Sequence[str], *, called_from: str) -> int:  # noqa: RET503 -- exec does not return
    if not words or words[0] not in BENCHES:
        sys.stderr.write(f"./start bench WHAT: {', '.join(BENCHES)}\n")
        return 2
    os.environ["CALLED_FROM"] = called_from  # its files count from there; it runs here, for -m
    command = [programs.PYTHON, "-m", BENCHES[words[0]], *words[1:]]
    os.execv(programs.PYTHON, command)  # noqa: S606 -- no shell is wanted


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CannotStart as reason:
        sys.exit(f"./start: {reason}")
