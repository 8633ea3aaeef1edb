"""Every web process serves its share of the connections, on a port that is nobody else's."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from labelapp import listening

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 24
APPLICATION = """
import os
from labelapp import listening

listening.APPLICATION = "told:application"

async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(str(os.getpid()))).encode())]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

if __name__ == "__main__":
    raise SystemExit(listening.main(["--port", os.environ["PORT"], "--workers", "2"]))
"""
pytestmark = pytest.mark.skipif(not listening.SPREADS, reason="only Linux spreads connections")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(folder):
    """Two processes that answer with their own number."""
    (folder / "told.py").write_text(APPLICATION)
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "PYTHONPATH": f"{folder}:{ROOT}"}
    process = subprocess.Popen([sys.executable, str(folder / "told.py")], env=environment)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def answering(port):
    """Who answers one connection."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b"")).rpartition(b"\r\n\r\n")[2]


def everybody(port):
    """The processes that answer, once both do."""
    deadline = time.monotonic() + 30
    seen = set()
    while len(seen) < 2 and time.monotonic() < deadline:
        try:
            seen.add(answering(port))
        except OSError:  # nobody listens yet
            time.sleep(0.1)
    return seen


def test_connections_that_come_one_by_one_reach_every_process(tmp_path):
    with served(tmp_path) as port:
        processes = everybody(port)
        answers = Counter(answering(port) for _ in range(CONNECTIONS))

    assert set(answers) == processes
    assert len(processes) == 2
    assert min(answers.values()) >= 3  # fewer: once in some ten thousand runs


@pytest.mark.parametrize(
    ("environment", "words", "expected"),
    [
        ({"WEB_CONCURRENCY": "3"}, [], (3, False, "127.0.0.1,::1")),
        ({"WEB_CONCURRENCY": "3"}, ["--workers", "2"], (2, False, "127.0.0.1,::1")),
        (
            {"WEB_CONCURRENCY": "1", "BEHIND_PROXY": "true", "FORWARDED_ALLOW_IPS": "10.0.0.0/8"},
            [], (1, True, "10.0.0.0/8"),
        ),
    ],
)  # fmt: skip
def test_the_environment_says_how_many_serve_and_whom_they_believe(
    monkeypatch, environment, words, expected
):
    for name in ("WEB_CONCURRENCY", "BEHIND_PROXY", "FORWARDED_ALLOW_IPS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    config = listening.configured(listening.arguments(words))

    assert (config.workers, config.proxy_headers, config.forwarded_allow_ips) == expected


def test_a_container_listens_as_start_does():
    (command,) = [
        line.removeprefix("CMD ")
        for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
        if line.startswith("CMD ")
    ]

    program, *words = json.loads(command)
    asked = listening.arguments(words[2:])

    assert [program, *words[:2]] == ["python", "-m", "labelapp.listening"]
    assert (asked.host, asked.port) == ("0.0.0.0", 8000)


def test_another_process_gets_another_socket_at_the_same_address():
    with closing(listening.OwnSocket("127.0.0.1", 0)[0]) as reserved:
        address = reserved.getsockname()
        copies = pickle.loads(pickle.dumps(listening.OwnSocket(*address)))

        assert [each.getsockname() for each in copies] == [address]
        copies[0].close()


def test_a_port_that_somebody_listens_on_is_not_shared(capsys):
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])

        assert listening.main(["--port", port, "--workers", "2"]) == 1

    assert f"127.0.0.1:{port} cannot be listened on" in capsys.readouterr().err


def taken_in(connection):
    """How much of a head without an end is read before the other side hangs up."""
    taken, line = 0, b"x-more: " + b"a" * 8000 + b"\r\n"
    with closing(connection):
        connection.sendall(b"GET / HTTP/1.1\r\n")
        while taken < 8 << 20:
            try:
                connection.sendall(line)
            except ConnectionError:
                break
            taken += len(line)
    return taken


def test_a_head_that_never_ends_is_cut_off(tmp_path):
    with served(tmp_path) as port:
        everybody(port)

        assert taken_in(socket.create_connection(("127.0.0.1", port), timeout=20)) < 4 << 20
        assert answering(port)
