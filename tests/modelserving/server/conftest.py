"""A real model server process with tiny checkpoints."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model

SECRET = "a secret that only tests know"
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server and the checkpoints below its root."""

    process: subprocess.Popen[bytes]
    url: str
    root: Path
    policy: str
    ranker: str
    log: Path

    def client(self, *, secret: str = SECRET) -> httpx.Client:
        """A plain HTTP client."""
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def openai(self) -> openai.OpenAI:
        """The official client."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=SECRET, max_retries=0, timeout=60)

    def post(self, path: str, content: Any) -> httpx.Response:
        """One request with a client of its own."""
        with self.client() as client:
            return client.post(path, json=content)

    def load(self, directory: Path | str, **more: Any) -> httpx.Response:
        """Ask the server to load a directory."""
        return self.post("/v1/checkpoints/load", {"path": str(directory), **more})


def launch(
    root: Path,
    *options: str,
    preload: bool = True,
    program: Sequence[str] = ("-m", "modelserving.server"),
    environment: Mapping[str, str] | None = None,
    **sizes: int,
) -> Served:
    """Start a server on a free port over tiny checkpoints in `root`; wait until it is ready."""
    policy, ranker = root / "policy", root / "ranker"
    hashes = [
        make_tiny_language_model(policy, seed=1, **sizes),
        make_tiny_preference_model(ranker, seed=2),
    ]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = root / f"server-{port}.log"
    loads = ["--preload", str(policy), "--preload", str(ranker)] if preload else []
    command = [
        sys.executable, *program, "--port", str(port), "--threads", "1",
        "--checkpoints-root", str(root), *loads, *options,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MODELSERVER_SECRET": SECRET, **(environment or {})},
        )
    served = Served(
        process=process, url=f"http://127.0.0.1:{port}", root=root, policy=hashes[0],
        ranker=hashes[1], log=log,
    )  # fmt: skip
    _wait_until_ready(served)
    return served


def _wait_until_ready(served: Served) -> None:
    ends = time.monotonic() + 90
    while time.monotonic() < ends:
        try:
            if httpx.get(f"{served.url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            assert served.process.poll() is None, served.log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"the server did not become ready: {served.log.read_text()}")


def end(served: Served) -> None:
    """Stop the process and expect a clean exit."""
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=20) in (0, -signal.SIGTERM)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that leave it as they found it."""
    running = launch(tmp_path_factory.mktemp("checkpoints"))
    yield running
    end(running)


HELLO = [{"role": "user", "content": "Hello there, how are you?"}]


def says_hello(served: Served, model: str | None = None) -> str:
    """A short reply, the same each time."""
    content = {"model": model or served.policy, "messages": HELLO, "max_tokens": 8, "seed": 5}
    answer = served.post("/v1/chat/completions", content)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])
