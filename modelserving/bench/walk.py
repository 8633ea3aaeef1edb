"""Time to first token through the real server: eight users, each with two streams, all at once.

Knows the server's command line and its protocol only.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import httpx

SECRET = "only for this measurement"


@asynccontextmanager
async def server(checkpoint: Path, *, threads: int) -> AsyncIterator[httpx.AsyncClient]:
    """A server process with the checkpoint loaded, and a client for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = _launched(checkpoint.resolve(), port=port, threads=threads, log=log)  # noqa: ASYNC240 -- nothing else runs yet
        headers = {"authorization": f"Bearer {SECRET}"}
        limits = httpx.Limits(max_connections=256)
        try:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers=headers, limits=limits, timeout=300
            ) as client:
                await _until_ready(client, process)
                yield client
        finally:
            process.terminate()
            process.wait(timeout=30)


def _launched(
    checkpoint: Path, *, port: int, threads: int, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "modelserving.server", "--port", str(port), "--threads", str(threads),
        "--checkpoints-root", str(checkpoint), "--preload", str(checkpoint),
        "--log-level", "warning",
    ]  # fmt: skip
    environment = {**os.environ, "MODELSERVER_SECRET": SECRET}
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


async def _until_ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if (await client.get("/readyz")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.1)
    raise RuntimeError("the server ended before it was ready")


async def burst(
    client: httpx.AsyncClient, prompts: Sequence[Sequence[int]], *, tokens: int
) -> tuple[list[float], float]:
    """Two streams per prompt at once: seconds to each first token, and until all have ended."""
    model = (await client.get("/v1/models")).json()["data"][0]["id"]
    started = time.perf_counter()

    async def stream(prompt: Sequence[int], side: int) -> float:
        content = {
            "model": model, "prompt": list(prompt), "max_tokens": tokens, "stream": True,
            "seed": side, "user": str(hash(tuple(prompt))), "return_token_ids": True,
        }  # fmt: skip
        first = float("inf")
        async with client.stream("POST", "/v1/completions", json=content) as answer:
            async for line in answer.aiter_lines():
                if first == float("inf") and line.startswith("data: {"):
                    assert json.loads(line[6:])["choices"], line
                    first = time.perf_counter() - started
        return first

    firsts = await asyncio.gather(*(stream(p, side) for p in prompts for side in (0, 1)))
    return list(firsts), time.perf_counter() - started
