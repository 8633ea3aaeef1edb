"""Who waits for whom before READY."""

import asyncio
import socket

import pytest

from labelapp.supervisor import programs, running
from labelapp.supervisor.options import read_options
from labelapp.supervisor.places import CannotStart, prepare_places
from labelapp.supervisor.redis_choice import choose_redis


@pytest.mark.parametrize("answering", [0, 1, 2])
def test_one_model_server_that_answers_is_enough_and_the_others_are_named(
    tmp_path, capsys, monkeypatch, answering
):
    monkeypatch.setattr(running, "READY_WITHIN", 1.0)
    monkeypatch.setattr(running, "OTHERS_WITHIN", 0.5)
    urls = [f"http://127.0.0.1:{_free_port()}" for _ in range(2)]

    is_served = asyncio.run(_waited(tmp_path, urls=urls, answering=answering))

    assert is_served == (answering > 0)
    terminal = capsys.readouterr().out
    said = [url for url in urls if f"{url} does not answer yet: the others serve until" in terminal]
    assert said == (urls[1:] if answering == 1 else [])


def test_a_wrong_setting_is_named_and_the_database_is_not_blamed(tmp_path):
    environment = {"LABELAPP_VAR": str(tmp_path), "LOG_LEVEL": "foo", "REDIS_URL": "redis://x"}

    with pytest.raises(CannotStart, match=r"^LOG_LEVEL='foo': write one of DEBUG"):
        asyncio.run(_instance(tmp_path, environment)._prepare())


def _instance(tmp_path, environment: dict[str, str]) -> running.Instance:
    places = prepare_places({"LABELAPP_VAR": str(tmp_path)})
    redis = choose_redis(places, environment)
    return running.Instance(
        places=places,
        options=read_options([], environment),
        services=programs.services_of(places, redis=redis, environment=environment),
        environment=environment,
    )


async def _waited(tmp_path, *, urls: list[str], answering: int) -> bool:
    environment = {"MODELSERVER_URLS": ", ".join(urls), "REDIS_URL": "redis://elsewhere"}
    instance = _instance(tmp_path, environment)
    ports = [int(url.rpartition(":")[2]) for url in urls[:answering]]
    servers = [await asyncio.start_server(_answer, "127.0.0.1", port) for port in ports]
    try:
        return await instance._wait_for_modelservers()
    finally:
        for server in servers:
            server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
