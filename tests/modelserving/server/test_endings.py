"""Connections and servers that end in the middle of something: who is told, and what is left behind."""

import asyncio
import gc
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelserving.lm.sampler import Sampler
from modelserving.server.__main__ import bound_socket
from modelserving.server.http import Disconnected, Exchange
from modelserving.server.protocol import parse_completion
from modelserving.server.replying import Replying
from tests.modelserving.server.in_process import engine_of, policy, serving_here

HELLO = [{"role": "user", "content": "Hello there, how are you?"}]


def test_what_runs_when_the_server_ends_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Sampler.step

    def slowly(sampler: Sampler) -> Any:
        time.sleep(0.1)
        return step(sampler)

    asked = {"model": "policy", "messages": HELLO, "max_tokens": 120, "seed": 5}
    with ThreadPoolExecutor(2) as pool:
        with serving_here(tmp_path) as served:  # which gives a second when it ends
            monkeypatch.setattr(Sampler, "step", slowly)
            path = "/v1/chat/completions"
            whole = pool.submit(served.post, path, asked)
            streamed = pool.submit(served.lines, path, {**asked, "stream": True})
            time.sleep(1.0)
        answer, lines = whole.result(timeout=10), streamed.result(timeout=10)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
    assert answer.headers["retry-after"] == "5"
    assert len(lines) > 2
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"


class Unread(Exchange):
    """Of somebody who stops reading after a few events."""

    events = 0

    async def event(self, _: Any) -> None:
        """Send one event."""
        self.events += 1
        if self.events > 4:
            raise Disconnected


def _unread(send: Any) -> Unread:
    return Unread(scope={"headers": []}, receive=asyncio.Queue().get, send=send)


@pytest.mark.parametrize("prompts", [1, 3])
def test_who_stops_reading_leaves_nothing_behind(tmp_path: Path, prompts: int) -> None:
    engine, complaints = engine_of(clock=time.monotonic), list[Any]()
    checkpoint = policy(engine, tmp_path / "policy")
    asked = {"model": "policy", "prompt": ["Hello"] * prompts, "max_tokens": 200, "stream": True}

    async def send(_: Any) -> None:
        pass

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        engine.start(loop)
        replying = Replying(
            request=parse_completion(asked, fresh_seed=1), engine=engine, exchange=_unread(send),
            deadline=60,
        )  # fmt: skip
        with pytest.raises(Disconnected):
            await replying.answer(now=engine.clock(), created=0)
        is_busy = engine.call(lambda: checkpoint.is_busy)  # behind what was told before
        assert not await asyncio.wrap_future(is_busy)
        del replying
        gc.collect()
        await asyncio.sleep(0.05)

    asyncio.run(ask())
    engine.stop()

    assert complaints == []


def test_a_connection_that_has_gone_is_nothing_to_log() -> None:
    async def closed(_: Any) -> None:
        raise RuntimeError(
            "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
        )

    exchange = Exchange(scope={"headers": []}, receive=asyncio.Queue().get, send=closed)
    with pytest.raises(Disconnected):
        asyncio.run(exchange.reply({}))


def test_a_socket_takes_the_place_of_no_file(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("kept")

    with pytest.raises(SystemExit, match="is not a socket"):
        bound_socket(place)
    assert place.read_text() == "kept"

    place.unlink()
    bound_socket(place).close()
    bound_socket(place).close()  # one that nobody listens on
