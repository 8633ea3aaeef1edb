"""The little of HTTP that the server needs, straight on ASGI: bodies with a bound, JSON, event streams.

Does not know the routes.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from modelserving.server.errors import BadRequest, ServingError, TooLarge, TooSlow

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY_SECONDS = 60.0  # in which a request's body must have come
SEND_TIMEOUT = 60.0  # seconds a reader may leave the stream unread once the buffers are full


class Disconnected(Exception):
    """The client went away, or does not read."""


class Exchange:
    """One request and its response."""

    def __init__(self, *, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap the three ASGI arguments."""
        self.scope = scope
        self._receive = receive
        self._send = send
        self._body_read = asyncio.Event()
        self.started = False
        self._is_stream = False
        self._ended = False

    def header(self, name: str) -> str:
        """A request header, or an empty text."""
        wanted = name.lower().encode()
        return next((v.decode("latin-1") for k, v in self.scope["headers"] if k == wanted), "")

    async def json(self, *, limit: int) -> dict[str, Any]:
        """Read the body, at most `limit` bytes, as one JSON object."""
        body = await self._body(limit=limit)
        try:
            parsed = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as broken:  # not UTF-8, not JSON, numbers without end
            raise BadRequest(f"the body is not JSON: {broken}", code="invalid_json") from None
        if not isinstance(parsed, dict):
            raise BadRequest("the body must be a JSON object", code="invalid_json")
        return parsed

    async def _body(self, *, limit: int) -> bytes:
        declared = self.header("content-length")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._pieces(limit=limit)
        except TimeoutError:
            raise TooSlow("the body did not come in time", code="body_too_slow") from None
        self._body_read.set()
        return body

    async def _pieces(self, *, limit: int) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            body += message.get("body", b"")
            if len(body) > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return bytes(body)

    async def gone(self) -> None:
        """Return when the client has gone away after its body was read."""
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(
        self, content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send one JSON document."""
        await self.reply_bytes(
            json_bytes(content), media_type="application/json", status=status, headers=headers
        )

    async def reply_bytes(
        self,
        body: bytes,
        *,
        media_type: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one document."""
        sent = {"content-type": media_type, "content-length": str(len(body)), **(headers or {})}
        await self._start(status=status, headers=sent)
        await self._put({"type": "http.response.body", "body": body})

    async def fail(self, error: ServingError) -> None:
        """Send an error, in the stream if it has begun."""
        if self._ended or (self.started and not self._is_stream):
            return  # what was said is whole, or has a length that nothing more fits into
        if self.started:
            await self.event(error.to_json())
            self._ended = True
            await self._put({"type": "http.response.body", "body": b""})
            return
        more = {"retry-after": str(error.retry_after)} if error.retry_after is not None else {}
        if isinstance(error, TooSlow):  # nobody waits for the rest of it
            more["connection"] = "close"
        await self.reply(error.to_json(), status=error.status, headers=more)

    async def start_events(self) -> None:
        """Begin a stream of server-sent events."""
        self._is_stream = True
        await self._start(
            status=200,
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-store",
                "x-accel-buffering": "no",
            },
        )

    async def event(self, content: Any) -> None:
        """Send one event."""
        text = (
            content
            if isinstance(content, str)
            else json.dumps(content, ensure_ascii=False, allow_nan=False)
        )
        await self._chunk(f"data: {text}\n\n".encode("utf-8", "replace"))

    async def sign_of_life(self) -> None:
        """Send a comment, which readers skip, so that they go on waiting."""
        if self._ended:
            return
        if not self.started:
            await self.start_events()
        await self._chunk(b": still at it\n\n")

    async def end_events(self) -> None:
        """Say that the stream is complete."""
        self._ended = True
        await self.event("[DONE]")
        await self._put({"type": "http.response.body", "body": b""})

    async def _chunk(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._put({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError:
            raise Disconnected from None

    async def _start(self, *, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._put({"type": "http.response.start", "status": status, "headers": raw})

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except RuntimeError as raised:
            if "closed" not in str(raised):
                raise
            raise Disconnected from raised  # how uvloop says that the connection has gone


def json_bytes(content: Any) -> bytes:
    """One JSON document; `ValueError` where a number in it is none."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the body is larger than {limit} bytes: send less at once", code="body_too_large"
    )
