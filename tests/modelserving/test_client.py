"""Asking model servers: what is asked again, what is not, and what no text is lost to."""

import threading
import time

import httpx
import pytest

from modelserving.client import calls
from modelserving.client.calls import Call, Needed, fetch, stream
from modelserving.client.endpoints import model_servers
from modelserving.client.errors import (
    Overloaded,
    Refused,
    RequestFailed,
    StreamBroken,
    Unreachable,
    stated_error,
)
from modelserving.client.events import events
from modelserving.client.statuses import server_statuses
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import serving

NEEDED = Needed(name="policy", path="/somewhere/policy")
MESSAGES = [{"role": "user", "content": "Hi"}]


def call(patience=5.0, **more):
    content = {"model": "policy", "messages": MESSAGES, "stream": True, "seed": 1, **more}
    return Call(
        route="/v1/chat/completions", content=content, servers=model_servers, needs=[NEEDED],
        patience=patience,
    )  # fmt: skip


def text_of(events_seen):
    deltas = [choice["delta"]["content"] for event in events_seen for choice in event["choices"]]
    return "".join(deltas)


def test_stream_loads_the_checkpoint_and_asks_again(settings):
    engine = FakeEngine()

    with serving(settings, engine):
        text = text_of(stream(call()))

    assert text == " ".join(engine.text_of({"messages": MESSAGES, "seed": 1}))
    assert engine.loads == [{"path": "/somewhere/policy", "name": "policy"}]


def test_stream_goes_to_the_second_server_when_the_first_is_away(settings):
    engine = FakeEngine()

    with serving(settings, engine) as urls:
        settings.MODELSERVER_URLS = ["http://127.0.0.1:9", *urls]
        text = text_of(stream(call()))

    assert text.startswith("Hi:")


@pytest.mark.parametrize("mode", ["garbage", "crash"])
def test_stream_begins_anew_elsewhere_while_no_text_has_come(settings, mode):
    broken, sound = FakeEngine(mode=mode, crash_after=0), FakeEngine()

    with serving(settings, broken, sound):
        text = text_of(stream(call()))

    assert text == " ".join(sound.text_of({"messages": MESSAGES, "seed": 1}))


def test_stream_that_breaks_off_after_text_is_never_called_whole(settings):
    engine, seen = FakeEngine(mode="crash", crash_after=3), []

    with serving(settings, engine), pytest.raises(StreamBroken):
        seen.extend(stream(call()))


def test_stream_waits_for_a_server_that_comes_back(settings):
    engine = FakeEngine()
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]
    with serving(settings, engine) as urls:
        settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]
        timer = threading.Timer(0.6, lambda: setattr(settings, "MODELSERVER_URLS", urls))
        timer.start()

        text = text_of(stream(call()))

        timer.join()
    assert text.startswith("Hi:")


def test_stream_gives_up_when_patience_ends(settings):
    settings.MODELSERVER_URLS = ["http://127.0.0.1:9"]

    begun = time.monotonic()
    with pytest.raises(Unreachable, match="no model server answered"):
        list(stream(call(patience=0.5)))

    assert time.monotonic() - begun < 3


def test_stream_honours_retry_after(settings):
    engine = FakeEngine(mode="full", fail_times=1)

    with serving(settings, engine):
        begun = time.monotonic()
        text = text_of(stream(call()))

    assert text.startswith("Hi:")
    assert time.monotonic() - begun >= 1.0


def test_stream_does_not_repeat_what_is_refused(settings):
    engine = FakeEngine(mode="refuse", needs_loading=False)

    with serving(settings, engine), pytest.raises(Refused, match="too long"):
        list(stream(call()))

    assert len(engine.requests) == 1


def test_a_policy_that_computes_no_numbers_does_not_speak_against_its_server(settings):
    engine = FakeEngine(mode="diverged", needs_loading=False)

    with serving(settings, engine):
        for _ in range(4):
            with pytest.raises(RequestFailed, match="not a number"):
                list(stream(call()))
        (endpoint,) = model_servers()
        assert not endpoint.breaker.is_open

    assert len(engine.requests) == 4


def test_a_checkpoint_that_cannot_be_loaded_is_said_at_once(settings):
    with serving(settings, FakeEngine(mode="never_loads")), pytest.raises(Refused, match="finite"):
        list(stream(call()))


def test_a_wrong_secret_is_said_at_once(settings):
    with serving(settings, FakeEngine(secret="another")), pytest.raises(Refused, match="secret"):
        list(stream(call()))


def test_a_server_that_hangs_is_given_up_after_the_first_byte_deadline(settings, monkeypatch):
    monkeypatch.setattr("modelserving.client.endpoints.TIMEOUT", httpx.Timeout(0.3))
    hanging, sound = FakeEngine(mode="hang", needs_loading=False), FakeEngine()

    with serving(settings, hanging, sound):
        text = text_of(stream(call()))

    assert text.startswith("Hi:")


def test_silence_between_words_is_given_up_sooner_than_before_the_first(settings, monkeypatch):
    monkeypatch.setattr("modelserving.client.events.CHUNK_SECONDS", 0.3)
    engine = FakeEngine(mode="stall", needs_loading=False)

    with serving(settings, engine):
        begun = time.monotonic()
        with pytest.raises(StreamBroken, match="ReadTimeout"):
            list(stream(call()))

    assert time.monotonic() - begun < 5


def test_closing_a_stream_frees_the_server(settings):
    engine = FakeEngine(words=500, words_per_second=100)

    with serving(settings, engine):
        reading = stream(call())
        next(reading)
        reading.close()
        deadline = time.monotonic() + 5
        while engine.running and time.monotonic() < deadline:
            time.sleep(0.02)

    assert (engine.running, engine.finished) == (0, 0)


def test_fetch_scores(settings):
    engine = FakeEngine()
    asked = Call(
        route="/v1/scores", servers=model_servers, needs=[NEEDED],
        content={"model": "policy", "dialogues": [[*MESSAGES, {"role": "assistant", "content": "x"}]]},
    )  # fmt: skip

    with serving(settings, engine):
        answer = fetch(asked)

    assert answer["scores"] == [engine.score_of("x")]


def test_server_statuses_tells_who_is_away(settings):
    with serving(settings, FakeEngine(loaded={"policy"})) as urls:
        settings.MODELSERVER_URLS = ["http://127.0.0.1:9", *urls]
        by_url = {status.url: status for status in server_statuses()}

    away, here = by_url["http://127.0.0.1:9"], by_url[urls[0]]
    assert (away.is_up, away.is_ready) == (False, False)
    assert (here.is_up, here.is_ready) == (True, True)
    assert [each["name"] for each in here.checkpoints] == ["policy"]


class Bytes(httpx.SyncByteStream):
    def __init__(self, *pieces):
        self._pieces = pieces

    def __iter__(self):
        yield from self._pieces


def response(*pieces):
    request = httpx.Request("POST", "http://x/", extensions={"timeout": {}})
    return httpx.Response(200, stream=Bytes(*pieces), request=request)


def test_events_are_cut_at_line_feeds_only():
    text = "a\u2028b\x85c\x0bd"
    whole = (
        'data: {"text": "' + text.replace("\x0b", "\\u000b") + '"}\r\n\ndata: [DONE]\n\n'
    ).encode()

    for size in (1, 3, 1000):
        pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
        assert [each["text"] for each in events(response(*pieces))] == [text]


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"choices": []}\n\n',
        b"data: nonsense\n\n",
        b"data: [1]\n\n",
        b"",
        b": only a comment\n\n",
    ],
)
def test_events_that_do_not_end_properly_are_refused(body):
    with pytest.raises(Unreachable):
        list(events(response(body)))


def test_comments_are_signs_of_life_and_no_events():
    body = b': still at it\n\ndata: {"a": 1}\n\n: still at it\n\ndata: [DONE]\n\n'

    assert list(events(response(body))) == [{}, {"a": 1}, {}]


def test_errors_are_sorted_by_what_to_do():
    kinds = {
        type(stated_error({"code": code, "message": "model x"}, status=status)).__name__
        for code, status in [("model_not_loaded", 404), ("", 404), ("not_found", 404)]
    }
    assert kinds == {"NotLoaded"}
    assert type(stated_error({}, status=500)) is Unreachable
    failed = [stated_error({"code": code}, status=500) for code in ("not_rankable", "deadline")]
    assert {type(each) for each in failed} == {RequestFailed}
    assert type(stated_error({}, status=422)) is Refused
    assert stated_error({}, status=503, retry_after="7").seconds == 7.0
    assert stated_error({}, status=503, retry_after="99999").seconds == 30.0


def test_what_may_be_kept_of_an_error_is_its_kind_status_and_code():
    said = {"code": "bad_words", "message": "not this: canary"}
    sentence = {"code": "not this: canary", "message": "no"}

    assert stated_error(said, status=400).brief == "Refused (400 bad_words)"
    assert stated_error(sentence, status=400).brief == "Refused (400)"
    assert stated_error({"code": 429}, status=429).brief == "Overloaded (429)"
    assert stated_error(said).brief == "Unreachable (bad_words)"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("invalid_request_error", Refused),
        ("checkpoint_error", Refused),
        ("overloaded_error", Overloaded),
        ("generation_error", Unreachable),
        (None, Unreachable),
    ],
)
def test_errors_inside_a_stream_are_sorted_by_their_type(kind, expected):
    found = stated_error({"message": "no", "type": kind, "code": "some_code"})

    assert type(found) is expected


def test_patience_is_longer_than_a_server_needs_to_start():
    assert calls.PATIENCE >= 30
