"""The ASGI application: authorisation, routing, and errors in one shape.

Does not know what the routes do.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from modelserving.server.engine import Engine
from modelserving.server.errors import (
    GenerationFailed,
    NotHere,
    ServingError,
    Unauthorised,
    shutting_down,
)
from modelserving.server.http import Disconnected, Exchange, Receive, Scope, Send
from modelserving.server.routes import Routes

logger = logging.getLogger(__name__)

Handler = Callable[[Exchange], Awaitable[None]]
LAST_WORD_SECONDS = 1.0
OPEN = {"/healthz", "/readyz"}
ONE_MODEL = "/v1/models/"


class App:
    """Routes requests; starts and stops the engine with the server."""

    def __init__(self, *, routes: Routes, engine: Engine, secret: str | None) -> None:
        """Without a `secret` everybody who reaches the socket may ask."""
        self._engine = engine
        self._routes = routes
        self._secret = secret
        self._table: dict[tuple[str, str], Handler] = {
            ("GET", "/healthz"): routes.healthz,
            ("GET", "/readyz"): routes.readyz,
            ("GET", "/metrics"): routes.metrics_text,
            ("GET", "/v1/models"): routes.models,
            ("GET", "/v1/status"): routes.status,
            ("POST", "/v1/chat/completions"): routes.chat,
            ("POST", "/v1/completions"): routes.completions,
            ("POST", "/v1/scores"): routes.scores,
            ("POST", "/v1/checkpoints/load"): routes.load,
            ("POST", "/v1/checkpoints/unload"): routes.unload,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's event."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(Exchange(scope=scope, receive=receive, send=send))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._engine.start(asyncio.get_running_loop())
        await self._routes.preload()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._engine.stop)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, exchange: Exchange) -> None:
        """Run the handler; a client that goes away cancels it."""
        handler = asyncio.ensure_future(self._handle(exchange))
        gone = asyncio.ensure_future(exchange.gone())
        is_cut_off = False
        try:
            await asyncio.wait({handler, gone}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server ends, and does not wait any longer
            is_cut_off = not handler.done()
        gone.cancel()
        handler.cancel()
        await asyncio.wait({handler})
        if is_cut_off:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await self._tell(exchange, shutting_down())

    async def _handle(self, exchange: Exchange) -> None:
        try:
            self._authorise(exchange)
            await self._handler(exchange)(exchange)
        except Disconnected:
            return
        except BaseExceptionGroup as group:
            await self._tell(exchange, _first(group))
        except Exception as raised:  # noqa: BLE001 -- a process boundary: one request's failure is not the others'
            await self._tell(exchange, raised)

    async def _tell(self, exchange: Exchange, raised: BaseException) -> None:
        if isinstance(raised, ServingError):
            error = raised
        else:
            logger.error("request failed", exc_info=raised)
            error = GenerationFailed("the server failed on this request", code="internal_error")
        self._engine.metrics.count(f"errors_{error.code}")
        try:
            await exchange.fail(error)
        except (Disconnected, OSError):
            return

    def _authorise(self, exchange: Exchange) -> None:
        if self._secret is None or exchange.scope["path"] in OPEN:
            return
        given = exchange.header("authorization").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode("latin-1"), self._secret.encode()):
            raise Unauthorised("send the shared secret as a bearer token", code="wrong_secret")

    def _handler(self, exchange: Exchange) -> Handler:
        method, path = exchange.scope["method"], exchange.scope["path"]
        found = self._table.get((method, path))
        if method == "GET" and path.startswith(ONE_MODEL):
            found = partial(self._routes.model, name=path.removeprefix(ONE_MODEL))
        if found is None:
            raise NotHere(f"there is no {method} {path} here", code="no_such_route")
        self._engine.metrics.count("requests")
        return found


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
