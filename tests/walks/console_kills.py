"""SIGKILL to one process of a running product at a time, and how long it takes to be back by itself.

Knows process ids, log lines and answers; knows nothing of what people do meanwhile.
"""

import json
import os
import signal
import time
from dataclasses import dataclass

import httpx
import redis

from tests.walks.instance import RunningProduct, every_process

VICTIMS = ("trainer", "training", "generation", "models", "web", "redis", "default", "beat")
BACK_WITHIN = 200.0
STARTED = {"beat": "beat: Starting"}  # a log line that says that it is up; workers say "ready."


@dataclass(kw_only=True)
class Death:
    """One process killed; `seconds` when it was back, None when it did not come."""

    victim: str
    moment: str
    pid: int
    lines_before: int
    at: float = 0.0
    seconds: float | None = None
    was_there: bool = True


def trainer_of(product: RunningProduct) -> int | None:
    """The training worker's child, while a run trains."""
    worker = product.processes().get("training")
    found = [
        pid
        for pid, parent, command in every_process()
        if parent == worker and "training.core" in command
    ]
    return found[0] if found else None


def aim(product: RunningProduct, victim: str, *, moment: str) -> Death | None:
    """The process that would die, found beforehand so that the blow comes at once; None when there is none."""
    pid = trainer_of(product) if victim == "trainer" else product.processes().get(victim)
    if pid is None:
        return None
    return Death(victim=victim, moment=moment, pid=pid, lines_before=_started(product, victim))


def strike(death: Death) -> None:
    """SIGKILL."""
    death.at = time.monotonic()
    try:
        os.kill(death.pid, signal.SIGKILL)
    except ProcessLookupError:  # a trainer that ended by itself a moment ago
        death.was_there = False


def wait_until_back(product: RunningProduct, death: Death, *, is_over: bool = False) -> None:
    """Until another process does the dead one's work; a trainer may also have nothing left to do."""
    deadline = death.at + BACK_WITHIN
    while time.monotonic() < deadline:
        if _is_back(product, death) or (death.victim == "trainer" and is_over):
            death.seconds = time.monotonic() - death.at
            return
        time.sleep(0.1)


def _is_back(product: RunningProduct, death: Death) -> bool:
    if death.victim == "trainer":
        return trainer_of(product) not in {None, death.pid}
    if product.processes().get(death.victim) in {None, death.pid}:
        return False
    if death.victim == "web":
        return _answers(product.base_url, "/readyz")
    if death.victim == "models":
        return _model_server_answers(product)
    if death.victim == "redis":
        return _redis_answers(product)
    return _started(product, death.victim) > death.lines_before


def _started(product: RunningProduct, victim: str) -> int:
    """How often the process has said in its log that it is up."""
    log = product.var / "log" / f"{victim}.log"
    if victim not in {"generation", "default", "training", "beat"} or not log.exists():
        return 0
    return log.read_text(errors="replace").count(STARTED.get(victim, " ready."))


def _services(product: RunningProduct) -> dict[str, str]:
    found: dict[str, str] = json.loads((product.var / "services.json").read_text())
    return found


def _answers(url: str, path: str, *, transport: httpx.BaseTransport | None = None) -> bool:
    try:
        with httpx.Client(base_url=url, timeout=2, trust_env=False, transport=transport) as client:
            return client.get(path).is_success
    except httpx.HTTPError:
        return False


def _model_server_answers(product: RunningProduct) -> bool:
    url = _services(product)["MODELSERVER_URLS"].split(",")[0]
    if not url.startswith("unix://"):
        return _answers(url, "/readyz")
    transport = httpx.HTTPTransport(uds=url.removeprefix("unix://"))
    return _answers("http://models", "/readyz", transport=transport)


def _redis_answers(product: RunningProduct) -> bool:
    try:
        with redis.Redis.from_url(_services(product)["REDIS_URL"], socket_timeout=2) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
