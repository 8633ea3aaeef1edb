"""The stream of one turn: written by whoever fills it, read by the browser, never the only copy.

Knows Redis and stored texts; payloads carry side letters, never what wrote a response.
"""

import asyncio
import json
import logging
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from redis.exceptions import RedisError

from comparisons.models import Response, Showing, Turn
from comparisons.services.connections import let_go_of_connection

logger = logging.getLogger(__name__)

MOST_ENTRIES = 5000
EXPIRES_SECONDS = 3600
LOOK_SECONDS = 5.0  # silence after which the reader looks at the database
POLL_SECONDS = 0.5  # between looks while Redis is away
HEARTBEAT_SECONDS = 15.0
LONGEST_STREAM_SECONDS = 900.0  # then the browser connects again
AWAY_SECONDS = 1.0  # Redis is not tried again sooner after it failed
ENTRY_ID = re.compile(r"\d{1,20}-\d{1,20}")
SIDES = ("A", "B")


@dataclass(frozen=True, kw_only=True)
class TurnEvent:
    """One event of a turn. `side` is empty where it concerns the whole turn.

    kinds: `reset` forget what was shown (of that side), `delta` more text, `done` this side is whole,
    `failed` this side (or, without side, the turn) could not be written, `ready` both are whole.
    """

    kind: str
    side: str = ""
    text: str = ""
    id: str = ""

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.kind == "ready" or (self.kind == "failed" and not self.side)


def stream_key(turn_public_id: uuid.UUID) -> str:
    """The turn's stream in Redis."""
    return f"turn:{turn_public_id}"


class TurnStream:
    """Writes the events of one attempt. While Redis is away, events are lost and nothing else is."""

    _away_until = 0.0  # shared by all streams of this process

    def __init__(self, turn_public_id: uuid.UUID, *, attempt: int) -> None:
        """Nothing is written yet."""
        self._key = stream_key(turn_public_id)
        self._attempt = attempt

    def begin(self) -> None:
        """Forget what earlier attempts wrote, and tell readers to do so."""
        self._write([TurnEvent(kind="reset")], is_new=True)

    def publish(self, kind: str, *, side: str = "", text: str = "") -> None:
        """Add an event."""
        self._write([TurnEvent(kind=kind, side=side, text=text)], is_new=False)

    def publish_texts(self, texts: Mapping[str, str]) -> None:
        """Add what may be shown of each side, all of it at once or nothing."""
        events = [TurnEvent(kind="delta", side=side, text=text) for side, text in texts.items()]
        self._write(events, is_new=False)

    def _write(self, events: Sequence[TurnEvent], *, is_new: bool) -> None:
        if not events or time.monotonic() < TurnStream._away_until:
            return
        client = _writer(os.getpid(), settings.REDIS_URL)
        pipeline = client.pipeline(transaction=is_new or len(events) > 1)
        if is_new:
            pipeline.delete(self._key)
        for event in events:
            fields: dict[Any, Any] = {
                "kind": event.kind,
                "side": event.side,
                "text": event.text,
                "attempt": self._attempt,
            }
            pipeline.xadd(self._key, fields, maxlen=MOST_ENTRIES, approximate=True)
        pipeline.expire(self._key, EXPIRES_SECONDS)
        try:
            pipeline.execute()
        except RedisError as away:
            TurnStream._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("the turn stream is not written, Redis is away: %s", away)


def forget(turn_public_ids: Sequence[uuid.UUID]) -> None:
    """Delete what the streams of these turns still hold; while Redis is away they expire there."""
    if not turn_public_ids:
        return
    keys = [stream_key(each) for each in turn_public_ids]
    try:
        _writer(os.getpid(), settings.REDIS_URL).delete(*keys)
    except RedisError as away:
        logger.warning("turn streams are left to expire, Redis is away: %s", away)


@cache
def _writer(pid: int, url: str) -> redis.Redis:  # noqa: ARG001 -- connections do not survive a fork
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=1)


async def server_sent_events(
    turn_public_id: uuid.UUID, *, last_event_id: str = ""
) -> AsyncIterator[bytes]:
    """The turn as an event stream: resumes after `last_event_id`, ends with `ready` or `failed`."""
    yield b"retry: 1000\n\n"
    spoke = time.monotonic()
    async for event in turn_events(turn_public_id, last_event_id=last_event_id):
        if event is not None:
            yield _encoded(event)
        elif time.monotonic() - spoke >= HEARTBEAT_SECONDS:
            yield b": still here\n\n"
        else:
            continue
        spoke = time.monotonic()


async def turn_events(
    turn_public_id: uuid.UUID, *, last_event_id: str = ""
) -> AsyncIterator[TurnEvent | None]:
    """Events as they come, and None now and then; from the stored texts where the stream cannot say."""
    begun = time.monotonic()
    last = last_event_id if ENTRY_ID.fullmatch(last_event_id) else "0-0"
    standing = await sync_to_async(_standing)(turn_public_id)
    if standing.is_over:
        for event in standing.events:
            yield event
        return
    least_attempt = standing.least_attempt
    async with _reader() as reader:
        while time.monotonic() - begun < LONGEST_STREAM_SECONDS:
            entries = await _read(reader, turn_public_id, last=last)
            for entry_id, event, attempt in entries:
                last = entry_id
                if attempt < least_attempt:
                    continue  # by a writer whose turn went to a later attempt
                least_attempt = attempt
                yield event
                if event.is_last:
                    return
            if not entries:
                yield None
                now = await sync_to_async(_standing)(turn_public_id)
                if now.is_over:
                    for event in now.events:
                        yield event
                    return


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """How the turn stands in the database."""

    is_over: bool
    least_attempt: int
    events: tuple[TurnEvent, ...]


def _standing(turn_public_id: uuid.UUID) -> _Standing:
    try:
        return _looked_up(Turn.objects.get(public_id=turn_public_id))
    finally:
        let_go_of_connection()  # a stream is open for minutes and asks now and then


def _looked_up(turn: Turn) -> _Standing:
    if turn.state == Turn.State.GENERATING:
        # Without a lease the next attempt has not begun: what the stream holds is of an earlier one.
        least = turn.attempt if turn.lease_until else turn.attempt + 1
        return _Standing(is_over=False, least_attempt=least, events=())
    return _Standing(is_over=True, least_attempt=0, events=tuple(_stored_events(turn)))


def _stored_events(turn: Turn) -> list[TurnEvent]:
    """The turn as its stored responses tell it."""
    showing = (
        turn.showings.filter(purpose=Showing.Purpose.AUTHOR, replaced_at__isnull=True)
        .select_related("side_a", "side_b")
        .first()
    )
    found = [TurnEvent(kind="reset")]
    responses = (showing.side_a, showing.side_b) if showing else ()
    for side, response in zip(SIDES, responses, strict=False):
        if response.state == Response.State.READY:
            found.append(TurnEvent(kind="delta", side=side, text=response.text))
            found.append(TurnEvent(kind="done", side=side, text=response.finish_reason))
        else:
            found.append(TurnEvent(kind="failed", side=side))
    is_whole = turn.state in {Turn.State.READY, Turn.State.CHOSEN}
    return [*found, TurnEvent(kind="ready" if is_whole else "failed")]


def _reader() -> "redis.asyncio.Redis":
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL, socket_timeout=LOOK_SECONDS + 5, socket_connect_timeout=1
    )


async def _read(
    reader: "redis.asyncio.Redis", turn_public_id: uuid.UUID, *, last: str
) -> list[tuple[str, TurnEvent, int]]:
    """New entries, or nothing after a while; while Redis is away, nothing after a shorter while."""
    key = stream_key(turn_public_id)
    try:
        answer: Any = await reader.xread({key: last}, block=round(LOOK_SECONDS * 1000), count=200)
    except (RedisError, OSError):
        await asyncio.sleep(POLL_SECONDS)
        return []
    return [_entry(entry_id, fields) for _, entries in answer or () for entry_id, fields in entries]


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> tuple[str, TurnEvent, int]:
    stored = {key.decode(): value.decode("utf-8", "replace") for key, value in fields.items()}
    event = TurnEvent(
        kind=stored["kind"], side=stored["side"], text=stored["text"], id=entry_id.decode()
    )
    return event.id, event, int(stored["attempt"])


def _encoded(event: TurnEvent) -> bytes:
    payload: dict[str, str] = {}
    if event.side:
        payload["side"] = event.side
    if event.kind == "delta":
        payload["text"] = event.text
    if event.kind == "done":
        payload["finish_reason"] = event.text
    lines = [f"id: {event.id}"] if event.id else []
    lines += [f"event: {event.kind}", f"data: {json.dumps(payload)}", "", ""]
    return "\n".join(lines).encode("ascii")
