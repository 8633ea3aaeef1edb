"""One supervised process: started, its lines kept, restarted when it dies, stopped in time.

Knows processes and log files; knows nothing of what the process is for.
"""

import asyncio
import logging
import logging.handlers
import os
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelapp.supervisor.deathsignal import die_with_parent
from labelapp.supervisor.places import ROOT

FIRST_PAUSE = 0.5  # seconds before the first restart; doubles up to the longest
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0  # a process that lived this long starts again with the first pause
LOUD = re.compile(r"\b(WARNING|ERROR|CRITICAL|Traceback|Error:)")
KNOWN = re.compile("Memory overcommit must be enabled|CPendingDeprecationWarning")  # advice
LOG_BYTES = 5_000_000
LONGEST_LINE = 1 << 20

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run and how to know that it is up."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready_line: str | None = None  # up when it wrote this; None: somebody else asks it
    grace: float = 10.0  # seconds between SIGTERM and SIGKILL


@dataclass(kw_only=True)
class Child:
    """A program kept running until `stop`."""

    program: Program
    log_folder: Path
    say: Say
    is_verbose: bool = False
    is_up: asyncio.Event = field(default_factory=asyncio.Event)
    deaths: int = 0
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=12))
    _process: asyncio.subprocess.Process | None = None
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep_running(self) -> None:
        """Start it; whenever it dies say so, wait a little longer each time, start it again."""
        pause = FIRST_PAUSE
        log = _log_file(self.log_folder / f"{self.program.name}.log")
        while not self._ending.is_set():
            started = time.monotonic()
            code = await self._run_once(log)
            if self._ending.is_set():
                break
            self.deaths += 1
            if time.monotonic() - started > STEADY_AFTER:
                pause = FIRST_PAUSE
            self.say(f"{self.program.name} {_ending(code)}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def stop(self) -> None:
        """SIGTERM, a grace, then SIGKILL to its whole process group."""
        self._ending.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self.program.grace)
        except TimeoutError:
            self.say(f"{self.program.name} did not stop in {self.program.grace:g} s: killed")
        self.kill()

    def kill(self) -> None:
        """End its process group at once."""
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGKILL)

    async def _run_once(self, log: logging.Logger) -> int:
        self._process = process = await asyncio.create_subprocess_exec(
            *self.program.command,
            env=dict(self.program.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=die_with_parent,
            limit=LONGEST_LINE,
        )
        if self._ending.is_set():  # asked to stop while it was being started
            self.kill()
        assert process.stdout is not None
        await self._read_lines(process.stdout, log)
        code = await process.wait()
        self.is_up.clear()
        _signal_group(process.pid, signal.SIGKILL)  # what it started and left behind
        return code

    async def _read_lines(self, stream: asyncio.StreamReader, log: logging.Logger) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: that part is dropped
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            log.info(text)
            self.last_lines.append(text)
            if self.program.ready_line and self.program.ready_line in text:
                self.is_up.set()
            is_loud = LOUD.search(text) and not KNOWN.search(text)
            if text and (self.is_verbose or is_loud):
                self.say(f"{self.program.name:<10} | {text}")


def _log_file(path: Path) -> logging.Logger:
    logger = logging.Logger(path.stem)  # noqa: LOG001 -- its own file, outside the tree
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=3)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    return logger


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
