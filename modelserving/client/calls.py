"""Ask a model server, and ask again where that helps: a second endpoint, a load, a moment later.

Knows endpoints and the protocol's errors; knows neither deployments nor conversations.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from modelserving.client.endpoints import Endpoint, model_servers
from modelserving.client.errors import (
    EndpointError,
    NotLoaded,
    Overloaded,
    Refused,
    RequestFailed,
    StreamBroken,
    Unreachable,
    error_of,
    stated_error,
)
from modelserving.client.events import events

logger = logging.getLogger(__name__)

PATIENCE = 45.0  # seconds to wait for a server that is full, or that is being restarted
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
LOAD_SECONDS = 300.0  # a large checkpoint is verified and warmed up before it answers
SCORE_SECONDS = 630.0  # nothing comes before the last score, and the server gives up after 600
Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Needed:
    """A checkpoint that a call needs: its name on the server and where its files stand."""

    name: str
    path: str | Path


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, with the checkpoints it needs and the servers that may answer it."""

    route: str
    content: Mapping[str, Any]
    servers: Callable[[], Sequence[Endpoint]]
    needs: Sequence[Needed] = ()
    is_stopped: Callable[[], bool] = lambda: False
    patience: float = PATIENCE
    read_seconds: float | None = None  # of silence, where it may be longer than usual


def stream(call: Call) -> Generator[Event, None, None]:
    """Events of a streamed reply. Until the first text came, any server may begin anew."""
    tries = Tries(call)
    for endpoint in tries:
        has_text = False
        try:
            for event in _events_of(endpoint, call):
                endpoint.breaker.succeeded()
                has_text = has_text or _has_text(event)
                yield event
        except EndpointError as failed:
            tries.note(endpoint, failed)
            if has_text:
                raise StreamBroken(str(failed), code=failed.brief) from failed
            tries.mend(endpoint, failed)
        else:
            return


def fetch(call: Call) -> Event:
    """The whole answer of a request that is not streamed."""
    tries = Tries(call)
    for endpoint in tries:
        try:
            with _answer(endpoint, call) as response:
                response.read()
                answer = response.json()
        except (EndpointError, ValueError) as failed:
            tries.note(endpoint, failed)
            tries.mend(endpoint, failed)
            continue
        endpoint.breaker.succeeded()
        if isinstance(answer, dict):
            return answer
        raise Refused("the server's answer is not a JSON object", code="not_an_object")
    raise AssertionError("tries end by an answer or an error")


class Tries:
    """Servers to ask, one after the other, with growing pauses, until patience ends."""

    def __init__(self, call: Call) -> None:
        """Begin to count the time."""
        self._call = call
        self._begun = time.monotonic()
        self._asked_to_wait = 0.0
        self._last: Exception | None = None

    def __iter__(self) -> Iterator[Endpoint]:
        """The consumer leaves the loop with its answer; `Unreachable` ends it without one."""
        pause = FIRST_PAUSE
        while True:
            for endpoint in self._call.servers():
                if endpoint.breaker.may_pass():
                    yield endpoint
            wait, self._asked_to_wait = max(pause, self._asked_to_wait), 0.0
            if self._call.is_stopped() or self._spent + wait > self._call.patience:
                words = f"no model server answered: {self._last or 'all are resting'}"
                raise Unreachable(words, code=_brief(self._last) if self._last else "resting")
            time.sleep(wait)
            pause = min(LONGEST_PAUSE, pause * 2)

    @property
    def _spent(self) -> float:
        return time.monotonic() - self._begun

    def note(self, endpoint: Endpoint, failed: Exception) -> None:
        """Only silence and nonsense speak against an endpoint; refusing and being full do not."""
        is_mended = isinstance(failed, NotLoaded) and self._may_load(endpoint)
        level = logging.DEBUG if is_mended else logging.INFO  # a first use loads: no news
        logger.log(level, "%s: %s", endpoint.url, _brief(failed))
        self._last = failed
        if isinstance(failed, Unreachable | ValueError):
            endpoint.breaker.failed()
        else:
            endpoint.breaker.succeeded()

    def mend(self, endpoint: Endpoint, failed: Exception) -> None:
        """Do what lets the next try succeed; what nothing mends is raised."""
        if isinstance(failed, Refused | RequestFailed):
            raise failed
        if isinstance(failed, Overloaded):
            self._asked_to_wait = max(self._asked_to_wait, failed.seconds)
        if isinstance(failed, NotLoaded):
            if not self._may_load(endpoint):
                raise Refused(str(failed), code=failed.brief) from failed
            for needed in self._call.needs:
                self._load(endpoint, needed)

    def _may_load(self, endpoint: Endpoint) -> bool:
        return endpoint.is_ours and bool(self._call.needs)

    def _load(self, endpoint: Endpoint, needed: Needed) -> None:
        try:
            load(endpoint, needed)
        except Overloaded as full:
            self._asked_to_wait = max(self._asked_to_wait, full.seconds)
        except Unreachable as silent:
            self.note(endpoint, silent)


def _brief(failed: Exception) -> str:
    """What of a failure may stand in a log: an endpoint's words may quote the prompt."""
    return failed.brief if isinstance(failed, EndpointError) else type(failed).__name__


def _events_of(endpoint: Endpoint, call: Call) -> Iterator[Event]:
    with _answer(endpoint, call) as response:
        for event in events(response):
            if "error" in event:
                stated = event["error"]
                raise stated_error(stated if isinstance(stated, Mapping) else {})
            yield event


def _has_text(event: Event) -> bool:
    for choice in event.get("choices") or ():
        if isinstance(choice, Mapping) and (choice.get("delta") or {}).get("content"):
            return True
    return False


def load(endpoint: Endpoint, needed: Needed) -> Event:
    """Have a checkpoint loaded; returns when it is warm. Loading twice is harmless."""
    content = {"path": str(needed.path), "name": needed.name}
    call = Call(
        route="/v1/checkpoints/load", content=content, servers=lambda: [endpoint],
        read_seconds=LOAD_SECONDS,
    )  # fmt: skip
    with _answer(endpoint, call) as response:
        response.read()
        answer: Event = response.json()
        return answer


def load_on(url: str, needed: Needed) -> Event:
    """Have one of our servers load a checkpoint."""
    endpoint = next((each for each in model_servers() if each.url == url), None)
    if endpoint is None:
        raise Refused(f"{url} is not in MODELSERVER_URLS")
    return load(endpoint, needed)


@contextmanager
def _answer(endpoint: Endpoint, call: Call) -> Iterator[httpx.Response]:
    """A response with status 200; every other outcome is an `EndpointError`."""
    timeout = endpoint.http.timeout.as_dict()
    if call.read_seconds is not None:
        timeout["read"] = call.read_seconds
    endpoint.active += 1
    try:
        with endpoint.http.stream(
            "POST", call.route, json=call.content, timeout=httpx.Timeout(**timeout)
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise error_of(response)
            yield response
    except httpx.HTTPError as failed:
        kind = type(failed).__name__
        raise Unreachable(f"{kind}: {failed}", code=kind) from failed
    finally:
        endpoint.active -= 1
