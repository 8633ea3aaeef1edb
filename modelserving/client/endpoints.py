"""The servers we may call: their address, their secret, one connection pool and one breaker each.

Knows settings and HTTP connections; knows neither the protocol nor deployments.
"""

import os
import threading
from dataclasses import dataclass, field

import httpx
from django.conf import settings

from modelserving.client.breaker import CircuitBreaker

CONNECT_SECONDS = 2.0
FIRST_BYTE_SECONDS = 60.0
CHUNK_SECONDS = 30.0
WRITE_SECONDS = 10.0
TIMEOUT = httpx.Timeout(
    connect=CONNECT_SECONDS, read=FIRST_BYTE_SECONDS, write=WRITE_SECONDS, pool=CONNECT_SECONDS
)
LIMITS = httpx.Limits(max_connections=1024, max_keepalive_connections=64, keepalive_expiry=30)


@dataclass(eq=False)
class Endpoint:
    """One server. `is_ours`: it speaks our extensions and loads checkpoints when asked."""

    url: str
    http: httpx.Client
    is_ours: bool
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    active: int = 0  # requests of this process that run now


_lock = threading.Lock()
_known: dict[tuple[int, str, str], Endpoint] = {}  # by process, address and secret


def model_servers() -> list[Endpoint]:
    """Our model servers, the least busy of this process first."""
    found = [
        _endpoint(url, secret=settings.MODELSERVER_SECRET, is_ours=True)
        for url in settings.MODELSERVER_URLS
    ]
    return sorted(found, key=lambda endpoint: endpoint.active)


def outside_endpoint(url: str, *, secret_env: str) -> Endpoint:
    """An OpenAI-compatible endpoint; its key is read from the environment at every call."""
    return _endpoint(
        url, secret=os.environ.get(secret_env, "") if secret_env else "", is_ours=False
    )


def _endpoint(url: str, *, secret: str, is_ours: bool) -> Endpoint:
    key = (os.getpid(), url, secret)  # connections do not survive a fork
    with _lock:
        if key not in _known:
            _known[key] = Endpoint(url=url, http=_http(url, secret=secret), is_ours=is_ours)
        return _known[key]


def _http(url: str, *, secret: str) -> httpx.Client:
    path = url.removeprefix("unix://") if url.startswith("unix://") else None
    return httpx.Client(
        base_url="http://modelserver" if path else url,
        transport=httpx.HTTPTransport(uds=path, limits=LIMITS),
        headers={"authorization": f"Bearer {secret}"} if secret else {},
        timeout=TIMEOUT,
        follow_redirects=False,
        trust_env=False,
    )
