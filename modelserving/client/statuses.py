"""What every model server says about itself: for the console, for readiness, for the status strip.

Asks all of them at once with short deadlines; never raises for a server that is away.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from modelserving.client.calls import Needed, load
from modelserving.client.endpoints import CONNECT_SECONDS, Endpoint, model_servers
from modelserving.client.errors import Refused, Unreachable, error_of

STATUS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """One server at one moment. `detail` is its own /v1/status."""

    url: str
    is_up: bool
    is_ready: bool = False
    milliseconds: int = 0
    failure: str = ""
    is_resting: bool = False  # our circuit breaker keeps requests away from it
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def checkpoints(self) -> list[dict[str, Any]]:
        """What it has loaded."""
        return list(self.detail.get("checkpoints") or [])


def server_statuses() -> list[ServerStatus]:
    """The status of every model server, in the order of the settings."""
    servers = sorted(model_servers(), key=lambda endpoint: endpoint.url)
    if not servers:
        return []
    with ThreadPoolExecutor(max_workers=len(servers)) as pool:
        return list(pool.map(_status, servers))


def load_everywhere(needed: Needed) -> None:
    """Load a checkpoint on every model server; the first refusal is raised."""
    for endpoint in model_servers():
        load(endpoint, needed)


def unload(url: str, *, name: str) -> None:
    """Have one server drop a checkpoint once what runs is finished."""
    endpoint = next((each for each in model_servers() if each.url == url), None)
    if endpoint is None:
        raise Refused(f"{url} is not in MODELSERVER_URLS")
    _post(endpoint, "/v1/checkpoints/unload", {"name": name})


def _status(endpoint: Endpoint) -> ServerStatus:
    timeout = httpx.Timeout(STATUS_SECONDS, connect=CONNECT_SECONDS)
    begun = time.monotonic()
    try:
        ready = endpoint.http.get("/readyz", timeout=timeout)
        status = endpoint.http.get("/v1/status", timeout=timeout)
        detail = status.json() if status.status_code == httpx.codes.OK else {}
    except (httpx.HTTPError, ValueError) as failed:
        return ServerStatus(
            url=endpoint.url, is_up=False, failure=f"{type(failed).__name__}: {failed}",
            is_resting=endpoint.breaker.is_open,
        )  # fmt: skip
    return ServerStatus(
        url=endpoint.url,
        is_up=True,
        is_ready=ready.status_code == httpx.codes.OK,
        milliseconds=round((time.monotonic() - begun) * 1000),
        failure="" if status.status_code == httpx.codes.OK else f"status {status.status_code}",
        is_resting=endpoint.breaker.is_open,
        detail=detail if isinstance(detail, dict) else {},
    )


def _post(endpoint: Endpoint, route: str, content: Mapping[str, Any]) -> None:
    try:
        response = endpoint.http.post(route, json=content)
    except httpx.HTTPError as failed:
        raise Unreachable(f"{type(failed).__name__}: {failed}") from failed
    if response.status_code != httpx.codes.OK:
        raise error_of(response)
