"""When Redis is left alone, and who tries it again."""

import time

import pytest
import redis

from modelserving.redis_away import RedisAway, asking_redis, brief_client, forget_failures


def test_one_that_did_not_answer_is_not_asked_for_a_while(redis_url):
    with pytest.raises(RedisAway, match="gone"), asking_redis():
        raise redis.ConnectionError("gone")

    with pytest.raises(RedisAway, match="a moment ago"), asking_redis():
        raise AssertionError("asked all the same")

    time.sleep(0.6)
    with asking_redis(), brief_client() as client:
        assert client.ping()


def test_what_fails_by_itself_is_raised_as_it_is(redis_url):
    with pytest.raises(KeyError), asking_redis():
        raise KeyError("a fault of the asker")

    forget_failures()
    with asking_redis(), brief_client() as client:
        assert client.ping()


def test_a_client_waits_for_a_moment_only(redis_url, private_redis):
    began = time.monotonic()

    with private_redis.hung(), pytest.raises(RedisAway), asking_redis(), brief_client() as client:
        client.ping()

    assert time.monotonic() - began < 2.5
