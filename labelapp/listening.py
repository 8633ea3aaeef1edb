"""`python -m labelapp.listening`: serve the web with uvicorn, each process on a socket of its own.

Processes that share one socket do not share the work: the kernel wakes the same one again and again, and
the others stay idle (docs/decisions/0020). Knows addresses and processes; knows nothing of what is served.
"""

import argparse
import socket
import sys
from collections.abc import Sequence

import uvicorn
from uvicorn.supervisors import Multiprocess

from labelapp.env import env_bool, env_int
from labelapp.processes import web_processes
from modelserving.server.connections import Connection

APPLICATION = "labelapp.asgi:application"
SPREADS = sys.platform == "linux"  # elsewhere SO_REUSEPORT does not spread the connections


class OwnSocket(list[socket.socket]):
    """What uvicorn hands its processes: each makes its own out of the address."""

    def __init__(self, host: str, port: int) -> None:
        """Bind to the address beside all others that do so."""
        super().__init__([_bound(host, port, is_beside_others=True)])
        self._address = host, self[0].getsockname()[1]

    def __reduce__(self) -> tuple[type["OwnSocket"], tuple[str, int]]:
        """A copy in another process is another socket."""
        return OwnSocket, self._address


def _bound(host: str, port: int, *, is_beside_others: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_beside_others:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(False)
    return bound


def sockets_for(config: uvicorn.Config) -> list[socket.socket]:
    """One for each process where the kernel spreads connections over them, else one for all."""
    if not SPREADS:
        return [config.bind_socket()]
    with _bound(config.host, config.port, is_beside_others=False):
        pass  # nobody else listens here; a socket beside others would not notice
    return OwnSocket(config.host, config.port)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line; what it leaves open is read from the environment."""
    parser = argparse.ArgumentParser(prog="python -m labelapp.listening", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--workers", type=int, default=env_int("WEB_CONCURRENCY", web_processes()),
        help="processes; default: $WEB_CONCURRENCY, else one for each core, up to four",
    )  # fmt: skip
    parser.add_argument(
        "--proxy-headers", action="store_true", default=env_bool("BEHIND_PROXY"),
        help="believe X-Forwarded-For of the addresses in $FORWARDED_ALLOW_IPS; default: $BEHIND_PROXY",
    )  # fmt: skip
    return parser.parse_args(words)


def configured(asked: argparse.Namespace) -> uvicorn.Config:
    """How uvicorn is to serve."""
    return uvicorn.Config(
        APPLICATION,
        host=asked.host,
        port=asked.port,
        workers=asked.workers,
        lifespan="off",
        http=Connection,
        access_log=False,
        server_header=False,
        proxy_headers=asked.proxy_headers,
        timeout_graceful_shutdown=5,
        timeout_worker_healthcheck=30,
    )


def main(words: Sequence[str]) -> int:
    """Serve until told to stop."""
    asked = arguments(words)
    config = configured(asked)
    if asked.workers == 1:
        uvicorn.Server(config).run()
        return 0
    try:
        sockets = sockets_for(config)
    except OSError as error:
        place = f"{asked.host}:{asked.port}"
        sys.stderr.write(f"{place} cannot be listened on: {error.strerror}\n")
        return 1
    Multiprocess(config, sockets=sockets).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
