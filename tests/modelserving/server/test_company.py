"""Loads, unloads, replies and clients that leave while their prompt is read, all at once: nobody gets a wrong answer."""

import concurrent.futures
import json
import socket
import time
from pathlib import Path

import pytest

from tests.modelserving.adapters import write_adapter
from tests.modelserving.server.conftest import HELLO, SECRET, Served, end, launch, says_hello

pytestmark = pytest.mark.fault
SECONDS = 4.0


def _leave_at_once(served: Served, model: str) -> int:
    """Ask with a prompt that fills the context, and go before it was read."""
    content = {"model": model, "prompt": list(range(3, 203)), "max_tokens": 50, "n": 4}
    body = json.dumps(content).encode()
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(
            f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
    return 0


UNHURRIED = """
import time
import modelserving.server.__main__ as server
from modelserving.lm.sampler import Sampler

step = Sampler.step

def unhurried(*arguments, **named):
    time.sleep(0.03)
    return step(*arguments, **named)

Sampler.step = unhurried
server.main()
"""


def test_what_runs_is_finished_although_its_checkpoint_is_drained_and_loaded_again(
    tmp_path: Path,
) -> None:
    served = launch(tmp_path, program=("-c", UNHURRIED))
    content = {
        "model": served.policy,
        "prompt": [5, 6, 7],
        "max_tokens": 100,
        "n": 8,
        "stream": True,
    }
    with (
        served.client() as client,
        client.stream("POST", "/v1/completions", json=content) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)

        drained = served.post("/v1/checkpoints/unload", {"name": served.policy}).status_code
        loaded = served.load(tmp_path / "policy").status_code
        rest = [line for line in lines if line]

    assert (drained, loaded) == (200, 200)
    assert rest[-1] == "data: [DONE]"
    assert says_hello(served)
    end(served)


def test_loading_unloading_replying_and_leaving_at_once(tmp_path: Path) -> None:
    served = launch(tmp_path, preload=False)
    (tmp_path / "policy").rename(tmp_path / served.policy)
    write_adapter(tmp_path / "adapter", base=tmp_path / served.policy, parent=served.policy, seed=1)
    places = {served.policy: tmp_path / served.policy, "adapter": tmp_path / "adapter"}
    for name, place in places.items():
        assert served.load(place, name=name).status_code == 200
    alone = {name: says_hello(served, name) for name in places}
    ends = time.monotonic() + SECONDS

    def repeat(act: str, name: str) -> set[tuple[int, str]]:
        seen: set[tuple[int, str]] = set()
        with served.client() as client:
            while time.monotonic() < ends:
                if act == "leave":
                    _leave_at_once(served, name)
                    continue
                content, route = {
                    "load": ({"path": str(places[name]), "name": name}, "/v1/checkpoints/load"),
                    "unload": ({"name": name}, "/v1/checkpoints/unload"),
                    "reply": (
                        {"model": name, "messages": HELLO, "max_tokens": 8, "seed": 5},
                        "/v1/chat/completions",
                    ),
                }[act]
                answer = client.post(route, json=content)
                told = answer.json()
                if act == "reply" and answer.status_code == 200:
                    assert told["choices"][0]["message"]["content"] == alone[name]
                seen.add((answer.status_code, told.get("error", {}).get("code", act)))
        return seen

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        acts = [(a, n) for a in ("load", "unload", "reply", "reply", "leave") for n in places]
        running = [pool.submit(repeat, act, name) for act, name in acts]
        seen = set().union(*(each.result() for each in running))

    assert {(200, "reply"), (200, "load"), (200, "unload"), (404, "model_not_loaded")} <= seen
    assert seen <= {
        (200, "reply"), (200, "load"), (200, "unload"), (404, "model_not_loaded"),
        (409, "base_in_use"), (503, "no_base"),
    }  # fmt: skip
    for name, place in places.items():
        assert served.load(place, name=name).status_code == 200
    assert {name: says_hello(served, name) for name in places} == alone
    with served.client() as client:
        held = client.get("/v1/status").json()["checkpoints"]
    assert [each["running"] + each["queued"] for each in held] == [0] * len(held)
    assert "Traceback" not in served.log.read_text()
    end(served)
