"""Ask Redis for a moment only, and leave it alone for a while after it did not answer.

Knows the address and who asked in vain; knows nothing of what is asked.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import redis
from django.conf import settings
from kombu.exceptions import OperationalError as BrokerAway
from redis.backoff import NoBackoff
from redis.retry import Retry

from modelserving.client.breaker import CircuitBreaker

SECONDS = 1.0  # longer than any answer takes, and as long as one of the web's few threads may wait


class RedisAway(Exception):
    """Redis did not answer just now; what it would have been told is in the database too."""


@contextmanager
def asking_redis() -> Iterator[None]:
    """Around what asks Redis. While it is away one caller at a time finds that out; the others go on at once."""
    breaker = _breaker(os.getpid(), settings.REDIS_URL)
    if not breaker.may_pass():
        raise RedisAway("it did not answer a moment ago")
    try:
        yield
    except (redis.RedisError, BrokerAway, OSError) as away:
        breaker.failed()
        raise RedisAway(str(away)) from away
    except BaseException:  # nothing is known of Redis, but the next may try
        breaker.failed()
        raise
    breaker.succeeded()


def brief_client() -> redis.Redis:
    """A client that asks once and waits for a moment."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=SECONDS,
        socket_connect_timeout=SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def forget_failures() -> None:
    """Take Redis to be there again."""
    _breaker.cache_clear()


@cache
def _breaker(pid: int, url: str) -> CircuitBreaker:  # noqa: ARG001 -- one for each process and address
    return CircuitBreaker(failures_to_open=1)
