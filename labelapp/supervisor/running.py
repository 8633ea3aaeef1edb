"""Start everything in order, say READY, keep it all running, stop it all.

Knows the order and who waits for whom; the processes themselves are in `programs`.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from labelapp.env import WRONG_SETTING
from labelapp.supervisor import deathsignal, programs, readiness
from labelapp.supervisor.child import Child, Program
from labelapp.supervisor.options import Options
from labelapp.supervisor.places import ROOT, CannotStart, Places, announce_services
from labelapp.supervisor.programs import PYTHON, Services

READY_WITHIN = 180.0
PREPARE_WITHIN = 600.0
OTHERS_WITHIN = 5.0  # for further model servers once one has answered


def say(text: str) -> None:
    """One line on the terminal, with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


@dataclass(kw_only=True)
class Instance:
    """One running instance and its children."""

    places: Places
    options: Options
    services: Services
    environment: Mapping[str, str]
    children: list[Child] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def run(self) -> int:
        """Everything, until a signal; returns the exit code."""
        deathsignal.adopt_orphans()
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, ending)
        starting = asyncio.create_task(self._start())
        ended = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await ended
        except CannotStart as reason:
            say(str(reason))
            return 1
        else:
            return 0
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._stop()

    def _on_signal(self, ending: asyncio.Event) -> None:
        if ending.is_set():  # asked twice: no more grace
            for child in self.children:
                child.kill()
        ending.set()

    async def _start(self) -> None:
        began = time.monotonic()
        _refuse_taken_port(self.options)
        redis = programs.redis_program(self.services, self.environment)
        self._launch(redis)
        say("preparing the database")
        prepared = await self._prepare()
        self._launch(
            programs.modelserver_program(
                self.environment, places=self.places, services=self.services
            )
        )
        self._launch(programs.django_programs(self.environment, options=self.options))
        announce_services(self.places, self.environment)
        await self._wait_until_ready()
        await self._load_first(prepared["checkpoints"])
        self._say_ready(prepared, seconds=time.monotonic() - began)

    def _launch(self, wanted: Sequence[Program]) -> None:
        for program in wanted:
            child = Child(
                program=program,
                log_folder=self.places.log,
                say=say,
                is_verbose=self.options.is_verbose,
            )
            self.children.append(child)
            self._tasks.append(asyncio.create_task(child.keep_running()))

    async def _prepare(self) -> dict[str, Any]:
        """Migrate, gather static files, register the starter checkpoint, make the demo."""
        command = [PYTHON, "manage.py", "prepare", *(["--demo"] if self.options.is_demo else [])]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**self.environment, "COLLECT_STATIC": "true"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=deathsignal.die_with_parent,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), PREPARE_WITHIN)
        finally:
            if process.returncode is None:
                process.kill()
        has_failed = process.returncode != 0
        # what it says of a good start goes to the terminal alone: there is a sign-in link in it
        (self.places.log / "prepare.log").write_bytes(errors + output if has_failed else errors)
        if has_failed:
            lines = (errors or output).decode(errors="replace").strip().splitlines()
            if process.returncode == WRONG_SETTING and lines:
                raise CannotStart(lines[-1])
            raise CannotStart(
                f"the database could not be prepared: {lines[-1] if lines else 'no reason given'} "
                f"(all of it: {self.places.log / 'prepare.log'})"
            )
        result: dict[str, Any] = json.loads(output.decode().strip().splitlines()[-1])
        return result

    async def _wait_until_ready(self) -> None:
        say("starting the web, the workers and the model server")
        host = urlsplit(self.options.public_url).netloc
        listening = self.options.host if self.options.host not in {"0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104 -- compared, not bound
        shown = f"[{listening}]" if ":" in listening else listening
        waits = [
            readiness.wait_for_page(
                f"http://{shown}:{self.options.port}", host=host, within=READY_WITHIN
            ),
            self._wait_for_modelservers(),
            *(_up(child) for child in self.children if child.program.ready_line),
        ]
        if not all(await asyncio.gather(*waits)):
            raise CannotStart(self._why_not_ready())

    async def _wait_for_modelservers(self) -> bool:
        """Until one of them answers; those that do not by then are named, and the rest serve without them."""
        urls = [url.strip() for url in self.services.modelserver_urls.split(",")]
        waits = {
            url: asyncio.create_task(readiness.wait_for_modelserver(url, within=READY_WITHIN))
            for url in urls
        }
        is_served = False
        for answered in asyncio.as_completed(waits.values()):
            if is_served := await answered:
                break
        _, late = await asyncio.wait(waits.values(), timeout=OTHERS_WITHIN)
        for url, wait in waits.items():
            if wait in late:
                wait.cancel()
                say(f"the model server {url} does not answer yet: the others serve until it does")
        return is_served

    def _why_not_ready(self) -> str:
        dying = [child for child in self.children if child.deaths] or self.children
        last = [
            f"  {child.program.name:<10} | {line}" for child in dying for line in child.last_lines
        ]
        return "\n".join(
            [f"not ready within {READY_WITHIN:g} s; the last lines were:", *last[-30:],
             f"everything is in {self.places.log}"]
        )  # fmt: skip

    async def _load_first(self, hashes: Sequence[str]) -> None:
        if not self.services.has_own_modelserver:
            return
        secret = programs.modelserver_secret(self.environment, places=self.places)
        folders = [self.places.artefacts / "checkpoints" / name for name in hashes]
        for failure in await readiness.load_checkpoints(
            self.services.modelserver_urls, folders, secret=secret
        ):
            say(f"models could not load checkpoint {failure}")

    def _say_ready(self, prepared: Mapping[str, Any], *, seconds: float) -> None:
        say(f"READY in {seconds:.0f} s: {self.options.public_url}")
        for line in prepared["lines"]:
            say(line)
        say("Ctrl-C stops everything.")

    async def _stop(self) -> None:
        """The askers first, then those they ask: models and redis."""
        if self.children:
            say("stopping")
        last = {"redis", "models"}
        await asyncio.gather(*(c.stop() for c in self.children if c.program.name not in last))
        await asyncio.gather(*(c.stop() for c in self.children if c.program.name in last))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _end_strays()
        self.places.services.unlink(missing_ok=True)
        if self.children:
            say("stopped")


async def _up(child: Child) -> bool:
    try:
        await asyncio.wait_for(child.is_up.wait(), READY_WITHIN)
    except TimeoutError:
        return False
    return True


def _refuse_taken_port(options: Options) -> None:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as refused:
            raise CannotStart(
                f"port {options.port} on {options.host} cannot be used ({refused.strerror}): "
                f"choose another with ./start --port {options.port + 1}"
            ) from None


def _end_strays() -> None:
    """Orphans that became our children: grandchildren whose parent was killed."""
    for pid in deathsignal.own_children():
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue
