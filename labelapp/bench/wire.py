"""A browser's HTTP without the browser: one kept connection, cookies, forms with their token.

As small as it can be, because it shares its cores with what it measures; knows nothing of pages.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

COOKIE = re.compile(rb"\r\nset-cookie: ([^=\r\n]+)=([^;\r\n]*)", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
LOCATION = re.compile(rb"\r\nlocation: ([^\r\n]+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: chunked", re.IGNORECASE)
CLOSING = re.compile(rb"\r\nconnection: close", re.IGNORECASE)
ANSWER_WITHIN = 60.0


class NoAnswer(OSError):
    """The server went away before its answer was whole."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response, whole."""

    status: int
    body: bytes
    location: str = ""


@dataclass(kw_only=True)
class Browser:
    """One person's cookies and one connection that is kept as long as the server keeps it."""

    host: str
    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def get(self, path: str, *, is_script: bool = False) -> Answer:
        """Fetch a page, or the part of it that a script asks for."""
        accept = "application/json" if is_script else "text/html"
        return await self._ask(self._head("GET", path, accept=accept) + b"\r\n")

    async def post(
        self, path: str, fields: Mapping[str, object], *, is_script: bool = False
    ) -> Answer:
        """Send a form with its token."""
        body = urlencode(fields).encode()
        accept = "application/json" if is_script else "text/html"
        more = (
            f"X-CSRFToken: {self.cookies.get('csrftoken', '')}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self._ask(self._head("POST", path, accept=accept) + more.encode() + body)

    async def follow(self, answer: Answer) -> Answer:
        """Where an answer leads to, at the end of its redirects."""
        while answer.location:
            answer = await self.get(answer.location)
        return answer

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of an event stream, over a connection of its own."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(self._head("GET", path, accept="text/event-stream") + b"\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            if _status(head) != 200:
                raise NoAnswer(f"{path}: {head[:200]!r}")
            waiting = b""
            while size := int(await reader.readline(), 16):
                waiting += (await reader.readexactly(size + 2))[:-2]
                *whole, waiting = waiting.split(b"\n")
                for line in whole:
                    yield line
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as gone:
            raise NoAnswer(f"{path}: {gone!r}") from gone
        finally:
            writer.close()

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    def _head(self, method: str, path: str, *, accept: str) -> bytes:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Accept: {accept}\r\nCookie: {cookies}\r\n"
        ).encode()

    async def _ask(self, request: bytes) -> Answer:
        """Send and read; once more where a kept connection was closed meanwhile."""
        while True:
            is_kept = self._writer is not None
            try:
                return await asyncio.wait_for(self._exchange(request), ANSWER_WITHIN)
            except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as gone:
                await self.close()
                is_closed = isinstance(gone, ConnectionError) or not getattr(gone, "partial", b"-")
                if not is_kept or not is_closed:
                    raise NoAnswer(repr(gone)) from gone

    async def _exchange(self, request: bytes) -> Answer:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        for name, value in COOKIE.findall(head):
            self.cookies[name.decode()] = value.decode()
        if length := LENGTH.search(head):
            body = await self._reader.readexactly(int(length[1]))
        else:
            body = await _chunks(self._reader) if CHUNKED.search(head) else b""
        if CLOSING.search(head):
            await self.close()
        to = LOCATION.search(head)
        return Answer(status=_status(head), body=body, location=to[1].decode() if to else "")


def _status(head: bytes) -> int:
    return int(head[9:12])


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(parts)
