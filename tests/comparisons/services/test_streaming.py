"""The event stream of a turn: resumed, rewritten, and told from the database where Redis cannot."""

import asyncio
import json
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from comparisons.models import Response, Turn
from comparisons.services import generating, streaming, turn_leases
from comparisons.services.streaming import TurnStream, server_sent_events, turn_events
from modelserving.core.completion import Completion
from tests.comparisons.turns import expire_lease, make_turn, shown, sides
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import serving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(streaming, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(streaming, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(TurnStream, "_away_until", 0.0)


def read(turn, *, last_event_id="", seconds=20.0):
    """All events until the stream ends."""

    async def collect():
        async with asyncio.timeout(seconds):
            seen = turn_events(turn.public_id, last_event_id=last_event_id)
            return [event async for event in seen if event is not None]

    return asyncio.run(collect())


def texts(events):
    return shown([(event.kind, event.side, event.text) for event in events])


def stored_texts(turn):
    return {side: response.text for side, response in sides(turn).items()}


def claimed(turn) -> TurnStream:
    lease = turn_leases.claim(turn.pk)
    stream = TurnStream(turn.public_id, attempt=lease.attempt)
    stream.begin()
    return stream


def complete(turn):
    """Store both sides, as the present attempt, without a word in the stream."""
    turn.refresh_from_db()
    Response.objects.filter(turn=turn).update(
        state="ready", text="Stored.", text_sha256="x", finish_reason="stop"
    )
    Turn.objects.filter(pk=turn.pk).update(state="ready", lease_until=None)


def test_a_reader_sees_words_as_they_come_and_ends_with_the_stored_text(settings, redis_url):
    turn = make_turn()

    with serving(settings, FakeEngine(words_per_second=50)):
        filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
        filling.start()
        events = read(turn)
        filling.join()

    assert sum(event.kind == "delta" for event in events) > 6
    assert texts(events) == stored_texts(turn)
    assert events[-1].kind == "ready"


def test_a_reader_that_comes_back_goes_on_where_it_left(settings, redis_url):
    turn = make_turn()
    stream = claimed(turn)
    for word in ("one", " two", " three"):
        stream.publish("delta", side="A", text=word)
    stream.publish("ready")

    whole = read(turn)
    rest = read(turn, last_event_id=whole[2].id)

    assert [event.text for event in whole if event.kind == "delta"] == ["one", " two", " three"]
    assert [event.id for event in rest] == [event.id for event in whole[3:]]


def test_a_turn_that_is_over_is_told_from_the_database(settings, redis_url):
    turn = make_turn()
    with serving(settings, FakeEngine()):
        generating.fill_turn(turn.pk)

    begun = time.monotonic()
    events = read(turn, last_event_id="1-0")

    assert time.monotonic() - begun < 2
    assert texts(events) == stored_texts(turn)
    assert [event.kind for event in events] == ["reset", "delta", "done", "delta", "done", "ready"]


def test_a_new_attempt_starts_the_text_anew(redis_url):
    turn = make_turn()
    stream = claimed(turn)
    stream.publish("delta", side="A", text="cut off by a crash")
    Turn.objects.filter(pk=turn.pk).update(
        lease_until=timezone.now() - timezone.timedelta(minutes=1)
    )
    second = claimed(turn)
    second.publish("delta", side="A", text="whole")
    second.publish("ready")

    events = read(turn)

    assert texts(events)["A"] == "whole"
    assert "crash" not in "".join(event.text for event in events)


def test_words_of_a_paused_earlier_attempt_never_mix_in(redis_url):
    turn = make_turn()
    paused = claimed(turn)

    def take_over():
        time.sleep(0.5)  # the reader knows of the first attempt alone
        expire_lease(turn)
        second = claimed(turn)
        paused.publish("delta", side="A", text="late")
        second.publish("delta", side="A", text="whole")
        second.publish("ready")

    taking_over = threading.Thread(target=take_over)
    taking_over.start()
    events = read(turn)
    taking_over.join()

    assert texts(events)["A"] == "whole"


def test_the_end_of_an_earlier_attempt_does_not_end_the_next_one(redis_url):
    turn = make_turn()
    claimed(turn).publish("failed")
    Turn.objects.filter(pk=turn.pk).update(lease_until=None)  # one side was asked for again

    def answer_later():
        time.sleep(0.5)
        second = claimed(turn)
        second.publish("delta", side="B", text="again")
        second.publish("ready")

    answering = threading.Thread(target=answer_later)
    answering.start()
    events = read(turn)
    answering.join()

    assert [event.kind for event in events] == ["reset", "delta", "ready"]


@pytest.mark.parametrize("address", ["unix:///nowhere/redis.sock", "redis://127.0.0.1:9/0"])
def test_without_redis_the_reader_waits_for_the_stored_texts(settings, address):
    settings.REDIS_URL = address
    turn = make_turn()
    timer = threading.Timer(0.6, complete, args=(turn,))
    timer.start()

    events = read(turn)

    timer.join()
    assert texts(events) == {"A": "Stored.", "B": "Stored."}
    assert events[-1].kind == "ready"


def test_a_stream_whose_end_was_lost_is_ended_from_the_database(private_redis, redis_url):
    turn = make_turn()
    claimed(turn).publish("delta", side="A", text="Sto")
    timer = threading.Timer(0.5, complete, args=(turn,))
    timer.start()

    events = read(turn)

    timer.join()
    assert texts(events) == {"A": "Stored.", "B": "Stored."}
    assert [event.kind for event in events][:2] == ["reset", "delta"]


def test_redis_killed_while_words_come_loses_no_turn(settings, private_redis, redis_url):
    turn = make_turn()

    with serving(settings, FakeEngine(words=20, words_per_second=20)):
        filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
        filling.start()
        killing = threading.Timer(0.4, private_redis.kill)
        killing.start()
        events = read(turn)
        filling.join()
        killing.join()

    turn.refresh_from_db()
    assert turn.state == "ready"
    assert texts(events) == stored_texts(turn)


def test_a_failed_turn_says_which_side(redis_url):
    turn = make_turn()
    lease = turn_leases.claim(turn.pk)
    turn_leases.fail(lease, side="B", reason="secret server name")
    whole = Completion(text="Fine.", token_ids=(), finish_reason="stop", seed=1)
    turn_leases.store(lease, side="A", completion=whole)

    events = read(turn)

    assert [(e.kind, e.side) for e in events] == [
        ("reset", ""), ("delta", "A"), ("done", "A"), ("failed", "B"), ("failed", ""),
    ]  # fmt: skip
    assert "secret" not in str(events)


def test_server_sent_events_are_lines_that_no_text_can_break(redis_url):
    hostile = "data: x\n\nevent: ready\r\n\u2028</script>\x85🙂"
    turn = make_turn()
    stream = claimed(turn)
    stream.publish("delta", side="A", text=hostile)
    stream.publish("done", side="A", text="stop")
    stream.publish("ready")

    async def collect():
        return [chunk async for chunk in server_sent_events(turn.public_id)]

    chunks = asyncio.run(collect())

    assert chunks[0] == b"retry: 1000\n\n"
    delta = chunks[2].decode("ascii").splitlines()
    assert (delta[1], len(delta)) == ("event: delta", 4)
    assert json.loads(delta[2].removeprefix("data: ")) == {"side": "A", "text": hostile}
    assert b'event: done\ndata: {"side": "A", "finish_reason": "stop"}' in chunks[3]
    assert chunks[-1].endswith(b"event: ready\ndata: {}\n\n")


def test_a_silent_stream_has_a_heartbeat(redis_url, monkeypatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.5)
    turn = make_turn()
    claimed(turn)

    async def collect():
        seen = []
        async for chunk in server_sent_events(turn.public_id):
            seen.append(chunk)
            if chunk.startswith(b":"):
                await sync_to_async(complete)(turn)
        return seen

    chunks = asyncio.run(asyncio.wait_for(collect(), 20))

    assert b": still here\n\n" in chunks
    assert chunks[-1].endswith(b"data: {}\n\n")
