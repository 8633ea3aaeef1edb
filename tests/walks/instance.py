"""The whole product as processes: started by its supervisor in a folder of its own, stopped after.

Knows commands and addresses, as an operator does; knows nothing of what happens inside.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from labelapp.supervisor.deathsignal import die_with_parent
from tests.compiled import share_compiled

ROOT = Path(__file__).resolve().parents[2]
SUPERVISOR = (sys.executable, "-m", "labelapp.supervisor")  # what ./start becomes
READY_WITHIN = 170.0
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "DATABASE_URL")


class RunningProduct:
    """One `./start demo` on a free port."""

    def __init__(
        self, var: Path, *, command: str = "demo", launcher: Sequence[str] = SUPERVISOR, **environment: str
    ) -> None:  # fmt: skip
        """Nothing runs yet."""
        self.var = var
        self.command = command
        self.launcher = launcher
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self.environment = {**kept, "LABELAPP_VAR": str(var), "OMP_NUM_THREADS": "2", **environment}
        self.output = var.with_name(f"{var.name}.terminal")
        if not var.exists():
            share_compiled(var)

    def start(self) -> None:
        """Start and wait for READY."""
        with self.output.open("ab") as terminal:
            self.process = subprocess.Popen(
                [*self.launcher, self.command, "--port", str(self.port)],
                cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=terminal, stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- before any thread
            )  # fmt: skip
        before = self.terminal().count("READY")
        deadline = time.monotonic() + READY_WITHIN
        while self.terminal().count("READY") == before:
            assert self.process.poll() is None, self.terminal()[-4000:]
            assert time.monotonic() < deadline, self.terminal()[-4000:]
            time.sleep(0.2)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def terminal(self) -> str:
        """What it has said so far."""
        return self.output.read_text(errors="replace")

    def manage(self, *words: str, timeout: float = 110) -> str:
        """A management command against the running instance; its standard output."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", *words], cwd=ROOT, env=self.environment,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def password(self, username: str) -> str:
        """The demo account's password, from the file that only its owner can read."""
        path = self.var / "demo-accounts.txt"
        assert path.stat().st_mode & 0o077 == 0
        return next(line.split()[2] for line in path.read_text().splitlines() if username in line)

    def processes(self) -> dict[str, int]:
        """Name → process id of the supervised processes."""
        patterns = {
            "redis": "(redis|valkey)-server", "models": "modelserving.server", "web": "labelapp.listening",
            "generation": "-Q generation", "default": "-Q default", "training": "-Q training",
            "beat": "labelapp beat",
        }  # fmt: skip
        found = {}
        for pid, parent, command in every_process():
            if parent == self.process.pid:
                name = next((n for n, p in patterns.items() if re.search(p, command)), command)
                found[name] = pid
        return found

    def wait_for_web(self, within: float = 60) -> None:
        """Until a page is answered again."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.base_url}/readyz", timeout=2, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError(f"the web did not come back: {self.terminal()[-3000:]}")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def every_process() -> list[tuple[int, int, str]]:
    """(pid, parent, command line) of every process of this machine, zombies left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if command:
            found.append((int(folder.name), parent, command))
    return found
