"""Requests that nobody means well with, to the real process: refused by name, held short, and serving goes on."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.modelserving.server.conftest import HELLO, SECRET, Served, end, launch, says_hello

pytestmark = pytest.mark.fault


def _sent(served: Served, **more: Any) -> httpx.Response:
    content = {"model": served.policy, "messages": HELLO, "max_tokens": 1, **more}
    with served.client() as client:
        return client.post("/v1/chat/completions", content=json.dumps(content))


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 10**400},
        {"top_p": -(10**400)},
        {"n": 10**400},
        {"temperature": float("nan")},
        {"stop": ["\ud800"]},
        {"model": "\ud800"},
        {"user": "\udfff"},
    ],
    ids=str,
)
def test_values_that_no_number_or_text_can_hold_are_the_callers_fault(
    served: Served, more: dict[str, Any]
) -> None:
    answer = _sent(served, **more)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


def test_a_number_too_long_to_read_is_no_json(served: Served) -> None:
    with served.client() as client:
        answer = client.post("/v1/scores", content=b'{"model": "x", "n": ' + b"9" * 5000 + b"}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function"}]},
        {"logit_bias": {"1": 5}},
        {"presence_penalty": 0.5},
        {"frequency_penalty": -1},
        {"response_format": {"type": "json_object"}},
    ],
    ids=str,
)
def test_settings_that_would_change_the_text_and_are_not_computed_are_refused(
    served: Served, more: dict[str, Any]
) -> None:
    (name,) = more
    answer = _sent(served, **more)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported")
    assert name in answer.json()["error"]["message"]


def test_the_same_settings_at_rest_are_taken(served: Served) -> None:
    answer = _sent(
        served, tools=[], logit_bias={}, presence_penalty=0, frequency_penalty=0.0,
        response_format={"type": "text"}, metadata={"a": "b"},
    )  # fmt: skip

    assert answer.status_code == 200, answer.text


def test_a_refusal_does_not_repeat_a_long_name(served: Served) -> None:
    answer = _sent(served, model="m" * 1_000_000)

    assert answer.status_code == 404
    assert len(answer.content) < 3000


@pytest.mark.parametrize("name", ["n" * 201, "\ud800", "", 5])
def test_a_checkpoint_takes_only_a_name_that_can_be_asked_for(served: Served, name: Any) -> None:
    with served.client() as client:
        content = json.dumps({"path": str(served.root / "policy"), "name": name})
        answer = client.post("/v1/checkpoints/load", content=content)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


def _connected(served: Served) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    return connection


def _memory(served: Served) -> int:
    with open(f"/proc/{served.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


@pytest.mark.parametrize("line", [b"x-%d: " + b"a" * 60_000 + b"\r\n", b"a" * 60_000])
def test_an_endless_head_is_cut_off(served: Served, line: bytes) -> None:
    before, sent = _memory(served), 0
    with _connected(served) as flood:
        flood.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx: ")
        try:
            for number in range(1500):
                sent += len(line)
                flood.sendall(line % number if b"%d" in line else line)
            answered = flood.recv(100)
        except (ConnectionResetError, BrokenPipeError):
            answered = b""

    assert sent < 50_000_000
    assert _memory(served) - before < 20 << 20
    assert answered == b"" or answered.startswith(b"HTTP/1.1 431")
    assert says_hello(served)


def test_an_ordinary_head_after_another_on_the_same_connection_is_read(served: Served) -> None:
    head = (
        f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        f"x: {'a' * 30_000}\r\n\r\n"
    ).encode()
    with _connected(served) as connection:
        for _ in range(4):
            connection.sendall(head)
            time.sleep(0.05)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def _until_closed(connection: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    received = b""
    while more := connection.recv(4096):
        received += more
    connection.close()
    return received


IMPATIENT = """
from modelserving.server import connections, http
connections.HEAD_SECONDS = http.BODY_SECONDS = 0.5
from modelserving.server.__main__ import main
main()
"""


def test_heads_and_bodies_that_never_end_are_not_waited_for(tmp_path: Path) -> None:
    served = launch(tmp_path, program=("-c", IMPATIENT))
    head = f"POST /v1/scores HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
    silent, slow, unfinished, answered = (_connected(served) for _ in range(4))
    answered.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answered.recv(4096).startswith(b"HTTP/1.1 200")
    answered.sendall(b"\r\n")
    slow.sendall(head.encode())
    unfinished.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())

    answers = [_until_closed(each) for each in (silent, slow, unfinished)]

    assert answers[:2] == [b"", b""]
    _until_closed(answered)  # an empty line is no head
    assert answers[2].startswith(b"HTTP/1.1 408")
    assert b"body_too_slow" in answers[2]
    assert says_hello(served)
    end(served)


def test_who_asks_for_a_websocket_is_answered_plainly(served: Served) -> None:
    upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    connection, said_before = _connected(served), len(served.log.read_text())

    connection.sendall(f"GET /v1/models HTTP/1.1\r\nhost: x\r\n{upgrade}{key}\r\n".encode())

    assert connection.recv(4096).startswith(b"HTTP/1.1 401")
    assert "Traceback" not in served.log.read_text()[said_before:]
    connection.close()


def test_lines_behind_a_body_in_pieces_are_not_kept(served: Served) -> None:
    before = _memory(served)
    head = f"POST /v1/scores HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
    connection = _connected(served)
    connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n".encode())
    line = b"x-more: " + b"a" * 8000 + b"\r\n"
    for _ in range(6000):  # 48 MB
        connection.sendall(line)
    connection.sendall(b"\r\n")

    assert connection.recv(4096).startswith(b"HTTP/1.1 4")
    assert _memory(served) < before + (24 << 20)
    connection.close()
