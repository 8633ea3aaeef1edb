"""One web process on a scratch database, started by the supervisor's own command line.

Knows commands, folders and addresses; knows nothing of what is asked of it.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from labelapp.supervisor import programs
from labelapp.supervisor.deathsignal import die_with_parent
from labelapp.supervisor.options import read_options
from labelapp.supervisor.places import ROOT
from labelapp.supervisor.postgresql import own_postgresql

READY_WITHIN = 60.0
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "WEB_CONCURRENCY")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Where the web listens, and the folder and environment that its commands share."""

    folder: Path
    port: int
    environment: Mapping[str, str]

    def command(self, *words: str) -> str:
        """Run a Python module against the same database; its standard output."""
        done = subprocess.run(
            [programs.PYTHON, "-W", "ignore", *words], cwd=ROOT, env=dict(self.environment),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{words}: {done.stderr[-3000:]}")
        return done.stdout

    def stock(self, *, people: int, items: int) -> dict[str, Any]:
        """Fill the empty database; names and the password that opens them."""
        module = ("-m", "labelapp.bench.stocking")
        said = self.command(*module, "--people", str(people), "--items", str(items))
        result: dict[str, Any] = json.loads(said.splitlines()[-1])
        return result


@contextmanager
def scratch_instance(folder: Path, *, database: str) -> Iterator[Instance]:
    """An empty database of this kind ("sqlite" or "postgresql") with its tables, nothing running."""
    opened = own_postgresql() if database == "postgresql" else nullcontext("")
    with opened as address:
        port = _free_port()
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environment = {
            **kept,
            "LABELAPP_VAR": str(folder / "var"),
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "DATABASE_URL": address,
            "DJANGO_SETTINGS_MODULE": "labelapp.settings",
            "LOG_LEVEL": "WARNING",
            "MODELSERVER_URLS": "http://127.0.0.1:9",  # nobody: the responses are there already
            "REDIS_URL": "redis://127.0.0.1:9/0",
        }
        (folder / "var").mkdir(mode=0o700)
        instance = Instance(folder=folder, port=port, environment=environment)
        instance.command("manage.py", "migrate", "--no-input", "--verbosity", "0")
        instance.command("manage.py", "collectstatic", "--no-input", "--verbosity", "0")
        yield instance


@contextmanager
def running_web(instance: Instance, *, wrapper: Sequence[str] = ()) -> Iterator[int]:
    """The web process, as ./start runs it; gives its process id."""
    options = read_options(["run", "--port", str(instance.port)], instance.environment)
    web = programs.django_programs(instance.environment, options=options)[0]
    log = instance.folder / "web.log"
    with log.open("ab") as stream:
        process = _started([*wrapper, *web.command], instance.environment, stream)
        try:
            _wait(instance.port, process, log)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _started(
    command: Sequence[str], environment: Mapping[str, str], stream: IO[bytes]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stream,
        stderr=subprocess.STDOUT, preexec_fn=die_with_parent,  # noqa: PLW1509 -- before any thread
    )  # fmt: skip


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the web did not start: {log.read_text()[-3000:]}")


def cpu_seconds(root: int) -> float:
    """Processor time of a process and of everything it started, so far."""
    ticks, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(folder.name)
        parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
