"""ASGI by hand for fakes: one exchange, a lifespan, and a server in a thread.

Knows nothing of what is answered.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn


class Exchange:
    """One request and its response."""

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope, self._receive, self._send = scope, receive, send

    def header(self, name: str) -> str:
        return next((v.decode() for k, v in self.scope["headers"] if k == name.encode()), "")

    async def json(self) -> dict[str, Any]:
        body, more = b"", True
        while more:
            message = await self._receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return json.loads(body or b"{}")

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(
        self, content: Any, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        await self.start("application/json", status=status, headers=headers)
        await self.chunk(json.dumps(content).encode(), more=False)

    async def fail(self, status: int, code: str, message: str, *, retry_after: str = "") -> None:
        headers = {"retry-after": retry_after} if retry_after else {}
        await self.reply(
            {"error": {"message": message, "code": code}}, status=status, headers=headers
        )

    async def start(
        self, kind: str, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        named = {"content-type": kind, **(headers or {})}
        raw = [(key.encode(), value.encode()) for key, value in named.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def event(self, content: Any) -> None:
        await self.chunk(f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode())

    async def chunk(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        stage = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{stage}.complete"})
        if stage == "shutdown":
            return


@contextlib.contextmanager
def running(app: Any, *, port: int = 0) -> Iterator[str]:
    """The app served by a thread of this process; gives its address."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listening.close()
