"""Where a running instance keeps its sockets, logs and lock.

Knows folders and their limits; knows nothing of what the processes do.
"""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from labelapp.databases.addresses import shown
from labelapp.env import running_services

ROOT = Path(__file__).resolve().parents[2]
LONGEST_SOCKET_PATH = 100  # the kernel allows 107 bytes
LEAST_FREE_BYTES = 300 * 1024**2
ANNOUNCED = ("PUBLIC_URL", "REDIS_URL", "MODELSERVER_URLS", "ARTEFACTS")


class CannotStart(RuntimeError):
    """Something on this machine stands in the way; the message names the cure."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folders of one instance, made and private to this user."""

    var: Path
    artefacts: Path
    run: Path  # sockets and the list of running services
    log: Path

    @property
    def redis_socket(self) -> Path:
        """Where our own Redis listens."""
        return self.run / "redis.sock"

    @property
    def modelserver_socket(self) -> Path:
        """Where our own model server listens."""
        return self.run / "modelserver.sock"

    @property
    def modelserver_secret(self) -> Path:
        """The secret that `manage.py prepare` makes where the environment gives none."""
        return self.var / "modelserver_secret"

    @property
    def services(self) -> Path:
        """What `manage.py` reads to reach the running services."""
        return self.var / "services.json"


def prepare_places(environment: Mapping[str, str]) -> Places:
    """Make the folders, readable by this user alone."""
    var = _var_of(environment)
    artefacts = Path(environment.get("ARTEFACTS") or var).resolve()
    try:
        for folder in (var, var / "log", artefacts / "checkpoints", artefacts / "runs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        var.chmod(0o700)
    except OSError as refused:
        raise CannotStart(
            f"cannot write {refused.filename or var}: {refused.strerror}; "
            "mend its permissions or set LABELAPP_VAR to a folder of yours"
        ) from None
    _refuse_full_disk(var)
    return Places(var=var, artefacts=artefacts, run=_socket_folder(var), log=var / "log")


def announce_services(places: Places, environment: Mapping[str, str]) -> None:
    """Let commands run by hand find what runs here; of the database they learn its name only."""
    told = {name: environment[name] for name in ANNOUNCED if name in environment}
    if url := environment.get("DATABASE_URL", "").strip():
        told["DATABASE"] = shown(url)
    draft = places.services.with_suffix(".partial")
    draft.write_text(json.dumps(told, indent=1))
    draft.replace(places.services)


def refuse_another_database(environment: Mapping[str, str]) -> None:
    """A command by hand that would open the SQLite file beside the database of what runs here."""
    database = running_services(_var_of(environment)).get("DATABASE")
    if database and not environment.get("DATABASE_URL", "").strip():
        raise CannotStart(
            f"what runs here keeps its rows in {database}, and DATABASE_URL is not set: "
            "export it as ./start had it"
        )


def take_lock(places: Places, *, address: str) -> IO[str]:
    """Be the only instance on these folders; keep the returned file open."""
    path = places.var / "supervisor.lock"
    stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        running = stream.read().strip() or "somewhere"
        stream.close()
        raise CannotStart(
            f"an instance is already running at {running}: stop it with Ctrl-C first"
        ) from None
    stream.truncate(0)
    stream.write(f"{address} (process {os.getpid()})")
    stream.flush()
    return stream


def _var_of(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("LABELAPP_VAR") or ROOT / "var").resolve()


def _refuse_full_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise CannotStart(
            f"{free // 1024**2} MB are free where {folder} is: free 300 MB, "
            "or set LABELAPP_VAR to a folder on another disk"
        )


def _socket_folder(var: Path) -> Path:
    beside = var / "run"
    if len(os.fsencode(beside / "modelserver.sock")) <= LONGEST_SOCKET_PATH:
        beside.mkdir(mode=0o700, exist_ok=True)
        return beside
    name = f"labelapp-{os.getuid()}-{hashlib.sha256(os.fsencode(var)).hexdigest()[:12]}"
    short = Path(tempfile.gettempdir()) / name
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_ours or found.st_mode & 0o077:
        raise CannotStart(f"{short} belongs to somebody else: remove it or move this folder")
    return short
