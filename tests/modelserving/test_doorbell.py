"""Whom a ring reaches, and how little a Redis that hangs or is gone costs who rings."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from celery import current_app

from comparisons.tasks import fill_turn
from modelserving import doorbell, redis_away


@pytest.fixture
def rung(redis_url, monkeypatch):
    """The generation queue's tasks as the broker holds them."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis+socket://" + redis_url.removeprefix("unix://"))

    def read() -> list[dict[str, int]]:
        with redis.Redis.from_url(redis_url) as client:
            kept = client.lrange("labelapp:generation", 0, -1)
        return [json.loads(each)["headers"]["kwargsrepr"] for each in reversed(kept)]

    return read


def test_a_ring_reaches_the_queue_of_its_task(rung):
    assert doorbell.ring(fill_turn, turn_id=7)

    assert rung() == ["{'turn_id': 7}"]


def test_rings_at_a_hung_redis_cost_one_second_and_then_nothing(rung, private_redis):
    assert doorbell.ring(fill_turn, turn_id=1)
    began = time.monotonic()

    with private_redis.hung():
        with ThreadPoolExecutor(4) as pool:
            first = list(pool.map(lambda n: doorbell.ring(fill_turn, turn_id=n), range(2, 6)))
        found_out = time.monotonic()
        later = [doorbell.ring(fill_turn, turn_id=n) for n in range(6, 106)]
        went_on = time.monotonic()

    assert not any(first + later)
    assert found_out - began < 2.5 * redis_away.SECONDS
    assert went_on - found_out < 0.3


def test_a_connection_that_hung_is_used_again_once_redis_answers(rung, private_redis):
    doorbell.ring(fill_turn, turn_id=1)
    with private_redis.hung():
        assert not doorbell.ring(fill_turn, turn_id=2)
    redis_away.forget_failures()

    assert doorbell.ring(fill_turn, turn_id=3)

    assert "{'turn_id': 3}" in rung()


def test_a_redis_that_was_started_again_is_rung_at(rung, private_redis):
    doorbell.ring(fill_turn, turn_id=1)
    private_redis.kill()
    assert not doorbell.ring(fill_turn, turn_id=2)
    private_redis.start()
    redis_away.forget_failures()

    assert doorbell.ring(fill_turn, turn_id=3)

    assert rung() == ["{'turn_id': 3}"]


def test_a_ring_on_commit_never_fails_what_was_committed(
    monkeypatch, settings, db, django_capture_on_commit_callbacks
):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    monkeypatch.setenv("CELERY_BROKER_URL", settings.REDIS_URL)

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        doorbell.ring_on_commit(fill_turn, turn_id=7)

    assert len(callbacks) == 1
    assert current_app.conf.broker_write_url == settings.REDIS_URL
