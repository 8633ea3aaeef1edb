"""Read server-sent events off a response, byte by byte, whatever the text inside is.

Knows the event-stream format; knows nothing of what the events say.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from modelserving.client.endpoints import CHUNK_SECONDS
from modelserving.client.errors import Unreachable

LONGEST_EVENT = 16 << 20  # bytes; best-of-64 with all candidates is far below
DONE = "[DONE]"


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The JSON object of every event until the stream says that it is done; a sign of life is an empty one.

    Ending without that word, or with anything that is not JSON, is `Unreachable`.
    """
    # From the first byte on, a shorter silence is allowed (httpcore reads this when the body starts).
    response.request.extensions["timeout"]["read"] = CHUNK_SECONDS
    for text in _data(response):
        if text == DONE:
            return
        if text is None:
            yield {}  # whoever reads may have been stopped meanwhile
            continue
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            words = "the server sent an event that is not JSON"
            raise Unreachable(words, code="not_json") from None
        if not isinstance(event, dict):
            words = "the server sent an event that is not an object"
            raise Unreachable(words, code="not_an_object")
        yield event
    raise Unreachable("the stream ended without saying that it is complete", code="no_end")


def _data(response: httpx.Response) -> Iterator[str | None]:
    """The data of each event, None for a comment. Lines end at line feeds only: model text may hold any other break."""
    waiting = bytearray()
    collected: list[bytes] = []
    for piece in response.iter_raw():
        waiting += piece
        while (end := waiting.find(b"\n")) >= 0:
            line = bytes(waiting[:end]).removesuffix(b"\r")
            del waiting[: end + 1]
            if line.startswith(b"data:"):
                collected.append(line[5:].removeprefix(b" "))
            elif line.startswith(b":"):
                yield None
            elif not line and collected:
                yield b"\n".join(collected).decode("utf-8", "replace")
                collected.clear()
        if len(waiting) + sum(map(len, collected)) > LONGEST_EVENT:
            raise Unreachable("the server sent an event that is too long", code="too_long")
