"""A TCP proxy in threads between a browser and the product: keeps every byte, and fails as told.

Knows sockets and the first line of a request; knows nothing of pages.
"""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field

CHUNK = 65_536


@dataclass(eq=False)
class Link:
    """One connection of the browser and its own to the product."""

    near: socket.socket
    far: socket.socket
    is_muted: bool = False  # half open: bytes vanish, nobody is told
    drops_answer: bool = False
    left: int | None = None  # bytes of answers until the cut
    request: str = ""

    def close(self) -> None:
        """Reset both ends."""
        for each in (self.near, self.far):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@dataclass(eq=False)
class Proxy:
    """Where it listens, what passed, and how it fails.

    `drop` maps a part of an address to how many answers to it are lost after the product gave them.
    `cut` maps a part of an address to the bytes of answers after which its connection is cut.
    """

    target: tuple[str, int]
    url: str = ""
    drop: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    refuses: bool = False
    sent: bytearray = field(default_factory=bytearray)  # by the browser
    answered: bytearray = field(default_factory=bytearray)  # by the product
    lost: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def mute(self) -> None:
        """Every open connection falls silent; new ones work."""
        for link in self.links:
            link.is_muted = True

    def reset(self) -> None:
        """Cut every open connection."""
        for link in self.links:
            link.close()

    @contextlib.contextmanager
    def running(self):
        """Listening on a port of its own."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        try:
            yield self
        finally:
            listening.close()
            self.reset()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            if self.refuses:
                near.close()
                continue
            try:
                far = socket.create_connection(self.target)
            except OSError:  # the site ended while a page asked once more
                near.close()
                continue
            link = Link(near, far)
            self.links.append(link)
            for pump in (self._ask, self._answer):
                threading.Thread(target=pump, args=(link,), daemon=True).start()

    def _ask(self, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := link.near.recv(CHUNK):
                self.sent += data
                self._plan(link, data)
                if not link.is_muted:
                    link.far.sendall(data)
        link.close()

    def _plan(self, link: Link, data: bytes) -> None:
        first = data.split(b"\r\n", 1)[0].decode("latin-1")
        if not first.endswith("HTTP/1.1"):
            return
        link.request = first
        for part, count in self.drop.items():
            if part in first and count > 0:
                self.drop[part], link.drops_answer = count - 1, True
        for part in [each for each in self.cut if each in first]:
            link.left = self.cut.pop(part)

    def _answer(self, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := link.far.recv(CHUNK):
                self.answered += data
                if link.drops_answer:
                    self.lost.append(link.request)
                    time.sleep(0.05)
                    break
                if link.left is not None:
                    data, link.left = data[: link.left], link.left - len(data)
                if not link.is_muted:
                    link.near.sendall(data)
                if link.left is not None and link.left <= 0:
                    self.lost.append(link.request)
                    break
        link.close()
