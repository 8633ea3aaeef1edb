"""How requests are read off a connection: as uvicorn does it, with a bound on a head's size and on the time it takes.

Without them whoever reaches the port could fill the memory, or hold connections for ever, before any secret is asked
for. Does not know requests' bodies or routes.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10  # beyond what came in the first piece
HEAD_SECONDS = 20.0
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(HttpToolsProtocol):
    """One client's connection, with one request after the other."""

    _reads_head = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The first head is awaited from now on."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that goes on and on ends the connection."""
        is_continued = self._reads_head
        super().data_received(data)
        self._head_bytes += len(data) if is_continued else 0
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and not self._reads_head and self._deadline is None:
            self._expect_head()  # what came was no head: an empty line, the rest of a body nobody reads
        if self._reads_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._reads_head, self._head_bytes = True, 0
        self._expect_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a head's line; those behind a body in pieces are nobody's, and could be without end."""
        if self._reads_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._reads_head = False
        self._forget_head()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._forget_head()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
