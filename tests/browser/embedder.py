"""Another site that frames ours, as MTurk's worker page does, and takes the last form.

Knows frames and forms; `localhost` is another site than `127.0.0.1` to every browser.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Embedder(ThreadingHTTPServer):
    """Frames whatever address stands behind `?of=`; keeps the forms it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listens on a free port of this machine."""
        super().__init__(("127.0.0.1", 0), _Answers)
        self.forms: list[tuple[str, dict[str, str]]] = []

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Embedder

    def do_GET(self) -> None:
        of = parse_qs(urlsplit(self.path).query).get("of", [""])[0]
        self._answer(
            "<!doctype html><html lang=en><title>HIT</title><body><h1>HIT</h1>"
            f'<iframe title="work" width="100%" height="560" src="{escape(of)}"></iframe>'
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = {name: values[0] for name, values in parse_qs(body).items()}
        self.server.forms.append((self.path, fields))
        self._answer("<!doctype html><html lang=en><title>Done</title><p>Handed in</p>")

    def _answer(self, page: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def embedder() -> Iterator[Embedder]:
    """The other site, gone afterwards."""
    server = Embedder()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)
