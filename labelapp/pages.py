"""Serve a page with all of its work on one kept thread, and leave event streams to the loop.

Django's own handler hops between the loop and a new thread at every middleware and gives each request a
new database connection (docs/decisions/0013). Knows requests; knows nothing of what a page shows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.urls import set_script_prefix

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
BODY_BYTES = 1 << 20  # no form of ours is larger
BODY_SECONDS = 60.0  # in which a request's body must have come
THREADS = 4  # in each process: more of them only wait for each other


class BodyRefused(Exception):
    """A body is larger than any form of ours, or does not come."""

    def __init__(self, *, status: int) -> None:
        """413 or 408."""
        super().__init__(status)
        self.status = status


def _bounded(receive: Receive) -> Receive:
    taken = 0

    async def bounded() -> dict[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES:
            raise BodyRefused(status=413)
        return message

    return bounded


async def _refuse(send: Send, *, status: int) -> None:
    """Say no, and hang up: the rest of the body is not waited for."""
    headers = [(b"connection", b"close"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body"})


class Handler(ASGIHandler):
    """Django's own, except that whoever is not signed in yet cannot fill the disk or hold a connection with a body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; a body that is refused is answered at once."""
        try:
            await super().__call__(scope, receive, send)
        except BodyRefused as refused:
            await _refuse(send, status=refused.status)

    def create_request(
        self, scope: Scope, body_file: IO[bytes]
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponse]:
        """The request, or the answer to one whose headers cannot be read."""
        try:
            return super().create_request(scope, body_file)
        except (ValueError, LookupError):  # of a Content-Type whose charset makes no text
            return None, HttpResponseBadRequest()

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """The body, whole; BodyRefused where it is too large or too slow."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body: IO[bytes] = await super().read_body(_bounded(receive))
        except TimeoutError:
            raise BodyRefused(status=408) from None
        return body


class Pages(Handler):
    """Django's handler, its middleware and views run as they would under WSGI."""

    def __init__(self, *, threads: int = THREADS) -> None:
        """Threads start when they are first needed and keep their database connections."""
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="page")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: a person who goes away meanwhile changes nothing of what it does."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._threads, self._respond, scope, body)
        try:
            await self.send_response(response, send)
        finally:
            if response.streaming:
                await sync_to_async(response.close)()

    def _respond(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, response = self.create_request(scope, body)
        if request is not None:
            response = self.get_response(request)
            response._handler_class = self.__class__  # noqa: SLF001 -- what Django's handlers set
        if not response.streaming:
            response.close()
        body.close()
        return response


class Application:
    """Event streams to Django's asynchronous handler, everything else to `Pages`."""

    def __init__(self) -> None:
        """Both handlers, with the middleware of the settings."""
        self._pages = Pages()
        self._streams = Handler()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one connection on."""
        is_stream = scope["type"] == "http" and scope["path"].endswith("/events")
        await (self._streams if is_stream else self._pages)(scope, receive, send)
