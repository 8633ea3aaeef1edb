"""Ask the web and the model server whether they answer.

Knows two addresses; knows nothing of what the answers contain.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

PAUSE = 0.15
PAGE = "/sign-in/"


async def wait_for_page(base_url: str, *, host: str, within: float) -> bool:
    """True when the database answers the web and a page is rendered."""
    headers = {"Host": host, "X-Forwarded-Proto": "https"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as client:
        is_ready = await _wait(client, "/readyz", within=within)
        return is_ready and await _wait(client, PAGE, within=within)


async def wait_for_modelserver(url: str, *, within: float) -> bool:
    """True when the engine of this model server answers."""
    async with _modelserver_client(url) as client:
        return await _wait(client, "/readyz", within=within)


async def load_checkpoints(url: str, paths: Sequence[Path], *, secret: str) -> list[str]:
    """Have these loaded before the first person asks; returns what could not be."""
    failures: list[str] = []
    async with _modelserver_client(url, secret=secret) as client:
        for path in paths:
            body = json.dumps({"path": str(path), "name": path.name})
            try:
                answer = await client.post("/v1/checkpoints/load", content=body, timeout=60)
            except httpx.HTTPError as failed:
                failures.append(f"{path.name[:8]}: {failed!r}")
                continue
            if answer.is_error:
                failures.append(f"{path.name[:8]}: {answer.text[:200]}")
    return failures


async def _wait(client: httpx.AsyncClient, path: str, *, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            answer = await client.get(path, timeout=5)
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code == httpx.codes.OK:
            return True
        await asyncio.sleep(PAUSE)
    return False


def _modelserver_client(url: str, *, secret: str = "") -> httpx.AsyncClient:
    headers = {"Content-Type": "application/json"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    if url.startswith("unix://"):
        transport = httpx.AsyncHTTPTransport(uds=url.removeprefix("unix://"))
        return httpx.AsyncClient(transport=transport, base_url="http://models", headers=headers)
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False)
