"""A turn is filled once, by whoever holds the lease, whatever breaks meanwhile."""

import threading
import time
from hashlib import sha256

import pytest
import redis
from django.db import connection

from comparisons.models import Response, Turn
from comparisons.services import generating
from comparisons.services.streaming import stream_key
from tests.comparisons.making import make_comparison, make_conversation
from tests.comparisons.turns import expected, make_turn, shown, sides, streamed
from tests.fake_engine import FakeEngine
from tests.modelserving.serving import make_deployment, make_ranked, serving

pytestmark = pytest.mark.django_db(transaction=True)


def test_fill_turn_stores_both_sides_and_streams_the_same_text(settings, redis_url):
    engine, turn = FakeEngine(), make_turn()

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    found = sides(turn)
    assert (turn.state, turn.attempt, turn.lease_until) == ("ready", 1, None)
    for side, response in found.items():
        assert response.text == expected(engine, turn, side)
        assert response.text_sha256 == sha256(response.text.encode()).hexdigest()
        assert (response.state, response.finish_reason, response.attempt) == ("ready", "stop", 1)
        assert response.token_ids == list(range(13))
    events = streamed(turn, redis_url)
    assert shown(events) == {side: response.text for side, response in found.items()}
    assert (events[0][0], events[-1][0]) == ("reset", "ready")
    assert sorted(e[:2] for e in events if e[0] == "done") == [("done", "A"), ("done", "B")]


def test_both_sides_are_written_at_once(settings, redis_url):
    engine, turn = FakeEngine(words_per_second=100), make_turn()

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    assert engine.most_running == 2


def test_fill_turn_sends_the_dialogue_that_the_picks_made(settings, redis_url):
    engine, conversation = FakeEngine(), make_conversation()
    make_comparison(conversation, message="First", picked="Yes.", other="No.")
    Turn.objects.create(
        conversation=conversation, index=1, message="Skipped", message_sha256="x", state="skipped"
    )
    turn = make_turn(conversation=conversation, message="Second")

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    assert engine.requests[-1]["messages"] == [
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Second"},
    ]


def test_nothing_that_is_streamed_names_what_wrote_it(settings, redis_url):
    turn = make_turn()

    with serving(settings, FakeEngine()):
        generating.fill_turn(turn.pk)

    with redis.Redis.from_url(redis_url) as client:
        stored = str(client.xrange(stream_key(turn.public_id)))
    for response in turn.responses.all():
        checkpoint = response.deployment.checkpoint
        for leak in (
            response.deployment.name,
            checkpoint.hash,
            checkpoint.name,
            str(response.public_id),
        ):
            assert leak not in stored


@pytest.mark.parametrize("rings", ["one after the other", "at once"])
def test_ringing_twice_changes_nothing(settings, redis_url, rings):
    engine, turn = FakeEngine(words_per_second=100), make_turn()

    def ring():
        try:
            generating.fill_turn(turn.pk)
        finally:
            connection.close()

    with serving(settings, engine):
        if rings == "at once":
            threads = [threading.Thread(target=ring) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            ring()
            ring()

    turn.refresh_from_db()
    assert (turn.state, turn.attempt) == ("ready", 1)
    assert engine.finished == 2


def test_held_back_turns_show_nothing_until_both_are_whole(settings, redis_url):
    engine = FakeEngine()
    turn = make_turn(deployments=(make_ranked("ranked", k=3), make_deployment("plain")))

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    found, events = sides(turn), streamed(turn, redis_url)
    assert [event[:2] for event in events] == [
        ("reset", ""), ("delta", "A"), ("done", "A"), ("delta", "B"), ("done", "B"), ("ready", ""),
    ]  # fmt: skip
    assert shown(events) == {side: response.text for side, response in found.items()}
    assert len(found["A"].candidates) == 3
    assert found["A"].pm_score == found["A"].candidates[0]["score"]


def test_a_side_that_breaks_off_is_written_again_from_its_beginning(settings, redis_url):
    engine, turn = FakeEngine(mode="crash", fail_times=1), make_turn()

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    assert turn.state == "ready"
    texts = {side: response.text for side, response in sides(turn).items()}
    events = streamed(turn, redis_url)
    assert shown(events) == texts
    assert all(len(text.split()) == 13 for text in texts.values())
    assert [event[0] for event in events].count(
        "reset"
    ) <= 2  # what was not shown is not taken back


def test_a_side_that_fails_twice_fails_the_turn_and_keeps_the_other(settings, redis_url):
    engine, turn = FakeEngine(mode="refuse", needs_loading=False, fail_times=1), make_turn()

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    states = sorted(response.state for response in sides(turn).values())
    assert (turn.state, states) == ("failed", ["failed", "ready"])
    failed = next(r for r in sides(turn).values() if r.state == "failed")
    assert (failed.failure, failed.text) == ("Refused (400 context_length_exceeded)", "")
    assert streamed(turn, redis_url)[-1][:2] == ("failed", "")


def test_an_endpoints_own_words_are_neither_kept_nor_logged(settings, redis_url, caplog):
    caplog.set_level("DEBUG")
    engine, turn = FakeEngine(mode="quote", needs_loading=False), make_turn()
    Turn.objects.filter(pk=turn.pk).update(message="canary: my address")

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    assert {r.failure for r in sides(turn).values()} == {"Refused (400 bad_words)"}
    assert "canary: my address" in str(engine.requests)
    assert "Refused (400 bad_words)" in caplog.text
    assert "canary" not in caplog.text


def test_a_failed_side_that_is_asked_for_again_is_written_and_the_other_kept(settings, redis_url):
    engine, turn = FakeEngine(mode="refuse", needs_loading=False, fail_times=1), make_turn()
    with serving(settings, engine):
        generating.fill_turn(turn.pk)
        kept = next(r for r in sides(turn).values() if r.state == "ready")
        Response.objects.filter(turn=turn, state="failed").update(state="pending", tries=1)
        Turn.objects.filter(pk=turn.pk).update(state="generating")

        generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    assert (turn.state, turn.attempt) == ("ready", 2)
    events = streamed(turn, redis_url)
    assert shown(events) == {side: r.text for side, r in sides(turn).items()}
    kept_text = kept.text
    kept.refresh_from_db()
    assert (kept.text, kept.attempt) == (kept_text, 1)


def test_a_side_that_is_asked_for_while_the_other_is_written_again_need_not_wait(
    settings, redis_url, bell
):
    engine, turn = FakeEngine(words_per_second=20, needs_loading=False), make_turn()
    Response.objects.filter(pk=sides(turn)["B"].pk).update(state="failed")

    with serving(settings, engine):
        filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
        filling.start()
        time.sleep(0.3)
        Response.objects.filter(state="failed").update(state="pending", tries=1)
        filling.join()
        rung = list(bell.rings)
        generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    assert (turn.state, rung) == ("ready", [turn.pk])


def test_a_skipped_turn_is_left_alone(settings, redis_url):
    engine, turn = FakeEngine(words=60, words_per_second=10), make_turn()

    with serving(settings, engine):
        filling = threading.Thread(target=generating.fill_turn, args=(turn.pk,))
        filling.start()
        time.sleep(0.6)
        Turn.objects.filter(pk=turn.pk).update(state="skipped", is_stop_requested=True)
        filling.join()

    turn.refresh_from_db()
    assert turn.state == "skipped"
    assert {r.state for r in sides(turn).values()} == {"pending"}


def test_fill_turn_works_without_redis(settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    engine, turn = FakeEngine(), make_turn()

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    assert turn.state == "ready"
    assert {r.state for r in sides(turn).values()} == {"ready"}


def test_a_reply_without_words_is_not_a_response(settings, redis_url, monkeypatch):
    engine, turn = FakeEngine(), make_turn()
    monkeypatch.setattr(engine, "text_of", lambda *_, **__: [" "])

    with serving(settings, engine):
        generating.fill_turn(turn.pk)

    turn.refresh_from_db()
    assert turn.state == "failed"
    assert {r.failure for r in sides(turn).values()} == {"the reply is empty"}
    assert len({request["seed"] for request in engine.requests}) == 4


def test_outside_endpoints_get_a_number_that_none_can_guess_or_compare(settings, redis_url):
    first, second = FakeEngine(needs_loading=False), FakeEngine(needs_loading=False)

    with serving(settings, first, second) as urls:
        settings.ALLOWED_ENDPOINTS = urls
        deployments = [
            make_deployment(f"outside {n}", endpoint_url=f"{url}/v1", endpoint_model="m")
            for n, url in enumerate(urls)
        ]
        turn = make_turn(deployments=deployments)
        again = make_turn(deployments=deployments, conversation=turn.conversation)
        for each in (turn, again):
            generating.fill_turn(each.pk)

    named = [{asked["user"] for asked in engine.requests} for engine in (first, second)]
    assert [len(each) for each in named] == [1, 1]  # one person, the same in both turns
    assert named[0] != named[1]
    person = turn.conversation.crowdworker_id
    guessed = sha256(f"crowdworker {person}".encode()).hexdigest()[:16]
    assert guessed not in named[0] | named[1]
    before = generating.user_of(person, deployments[0])
    settings.SECRET_KEY = "another" * 10
    assert generating.user_of(person, deployments[0]) != before
    assert len({generating.user_of(n, deployments[0]) for n in (1, 2, 3)}) == 3
    ours = [make_deployment("one"), make_deployment("two")]
    assert len({generating.user_of(1, each) for each in ours}) == 1  # they share a server's rows
