"""How many streams one person may hold open in one process."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from comparisons.web import stream_views
from comparisons.web.stream_views import MOST_OPEN, ONE_TOO_MANY, _counted

ME, OTHER = 1, 2


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"word"


async def first_of(account: int) -> tuple[bytes, AsyncIterator[bytes]]:
    stream = _counted(account, endless())
    return await anext(stream), stream


def test_one_stream_too_many_is_told_to_come_back_and_others_are_not() -> None:
    async def walk() -> None:
        held = [await first_of(ME) for _ in range(MOST_OPEN)]
        assert {word for word, _ in held} == {b"word"}
        refused, stream = await first_of(ME)
        assert refused == ONE_TOO_MANY
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert (await first_of(OTHER))[0] == b"word"
        await held[0][1].aclose()  # a tab is closed
        assert (await first_of(ME))[0] == b"word"

    asyncio.run(walk())


def test_nothing_is_kept_of_streams_that_ended_or_were_broken_off() -> None:
    async def walk() -> None:
        _, stream = await first_of(ME)
        await stream.aclose()

        async def read() -> None:
            async for _ in _counted(ME, endless()):
                await asyncio.sleep(0)

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    stream_views._open.clear()
    asyncio.run(walk())
    assert not stream_views._open
