"""What may go wrong around a server: clients that leave or do not read, queues that fill, death."""

import concurrent.futures
import json
import signal
import socket
import time
from pathlib import Path

import httpx
import openai
import pytest

from tests.modelserving.server.conftest import HELLO, SECRET, Served, launch, says_hello
from tests.tiny_checkpoints import make_tiny_language_model

pytestmark = pytest.mark.fault


def test_a_checkpoint_comes_and_goes_while_others_serve(served: Served) -> None:
    identity = make_tiny_language_model(served.root / "another", seed=77)
    before = says_hello(served)

    loaded = served.load(served.root / "another", name=identity).json()
    other = says_hello(served, identity)
    again = served.load(served.root / "another", name=identity)
    unloaded = served.post("/v1/checkpoints/unload", {"name": identity})

    assert (loaded["hash"], loaded["kind"]) == (identity, "language_model")
    assert again.status_code == unloaded.status_code == 200
    assert other != before
    assert says_hello(served) == before
    gone = served.post("/v1/chat/completions", {"model": identity, "messages": HELLO})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_loaded")


def test_only_directories_below_the_roots_are_read(served: Served, tmp_path: Path) -> None:
    make_tiny_language_model(tmp_path / "outside")
    (served.root / "link").symlink_to(tmp_path / "outside")

    codes = [
        served.load(path).json()["error"]["code"]
        for path in (
            tmp_path / "outside",
            served.root / "link",
            f"{served.root}/policy/../../..",
            served.root / "nothing",
            "policy\0",
            "",
        )
    ]

    assert codes == ["outside_roots"] * 3 + ["no_such_directory"] * 2 + ["outside_roots"]


def test_a_directory_under_another_checkpoints_name_is_refused(served: Served) -> None:
    answer = served.load(served.root / "policy", name="0" * 64)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "other_checkpoint")


def test_a_client_that_leaves_frees_its_rows(served: Served) -> None:
    content = {
        "model": served.policy,
        "messages": HELLO,
        "max_tokens": 120,
        "n": 16,
        "stream": True,
    }

    for _ in range(8):
        with (
            served.client() as client,
            client.stream("POST", "/v1/chat/completions", json=content) as answer,
        ):
            next(answer.iter_lines())

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _running(served):
        time.sleep(0.05)
    assert _running(served) == 0
    says_hello(served)


def _running(served: Served) -> int:
    with served.client() as client:
        status = client.get("/v1/status").json()
    return sum(each["running"] + each["queued"] for each in status["checkpoints"])


def test_a_reader_that_does_not_read_holds_nobody_up(served: Served) -> None:
    body = json.dumps(
        {"model": served.policy, "messages": HELLO, "max_tokens": 120, "n": 16, "stream": True}
    ).encode()
    host, port = served.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {SECRET}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    lazy = [socket.create_connection((host, int(port))) for _ in range(4)]
    for each in lazy:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.sendall(head + body)

    started = time.monotonic()
    for _ in range(5):
        says_hello(served)

    assert time.monotonic() - started < 20
    for each in lazy:
        each.close()


def test_a_thousand_requests_are_answered_or_told_to_come_back(served: Served) -> None:
    content = {"model": served.policy, "messages": HELLO, "max_tokens": 2, "seed": 5}
    limits = httpx.Limits(max_connections=500)
    codes: list[int] = []

    with (
        httpx.Client(
            base_url=served.url,
            headers={"authorization": f"Bearer {SECRET}"},
            limits=limits,
            timeout=120,
        ) as client,
        concurrent.futures.ThreadPoolExecutor(500) as pool,
    ):

        def ask(_: int) -> tuple[int, str]:
            answer = client.post("/v1/chat/completions", json=content)
            return answer.status_code, answer.headers.get("retry-after", "")

        found = list(pool.map(ask, range(1000)))

    codes = [status for status, _ in found]
    assert set(codes) <= {200, 503}
    assert codes.count(200) >= 256
    assert all(retry for status, retry in found if status == 503)
    says_hello(served)


def test_death_in_mid_stream_is_never_called_complete_and_it_comes_back_empty(
    tmp_path: Path,
) -> None:
    first = launch(tmp_path)
    client = first.openai()
    pieces: list[str | None] = []

    def read() -> None:
        stream = client.chat.completions.create(
            model=first.policy, messages=HELLO, max_tokens=150, seed=1, stream=True,
            extra_body={"n": 8},
        )  # fmt: skip
        for number, chunk in enumerate(stream):
            pieces.extend(choice.finish_reason for choice in chunk.choices)
            if number == 5:
                first.process.send_signal(signal.SIGKILL)

    with pytest.raises((openai.APIError, httpx.TransportError)):
        read()
    first.process.wait(timeout=10)

    assert pieces
    assert None in pieces  # no choice was said to be finished by the cut
    second = launch(tmp_path / "again", preload=False)
    try:
        missing = second.post("/v1/chat/completions", {"model": first.policy, "messages": HELLO})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_loaded")
        assert second.load(tmp_path / "again" / "policy").json()["name"] == first.policy
        assert says_hello(second, first.policy)
    finally:
        second.process.kill()


def test_one_user_cannot_keep_another_waiting(served: Served) -> None:
    many = {"model": served.policy, "messages": HELLO, "max_tokens": 100, "n": 8, "user": "greedy"}
    one = {"model": served.policy, "messages": HELLO, "max_tokens": 4, "user": "modest"}

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        greedy = [pool.submit(served.post, "/v1/chat/completions", many) for _ in range(24)]
        time.sleep(0.15)
        done_before = sum(each.done() for each in greedy)
        assert served.post("/v1/chat/completions", one).status_code == 200
        done_meanwhile = sum(each.done() for each in greedy) - done_before
        assert {each.result().status_code for each in greedy} == {200}

    assert done_before + done_meanwhile < 20  # there was somebody to overtake
    assert done_meanwhile <= 6
