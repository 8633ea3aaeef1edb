"""Ring for a worker: every task that somebody asks for is asked for here.

Knows the broker and its silence; the rows that wait are the facts, and who looks after them rings again.
"""

import logging
import os
from functools import cache, partial
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.pools import ProducerPool

from modelserving.redis_away import SECONDS, RedisAway, asking_redis

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 10  # connections of one process; a ring takes a millisecond
BRIEFLY = {
    "socket_timeout": SECONDS,  # a worker's own connection waits longer: it listens
    "socket_connect_timeout": SECONDS,
    "max_retries": 0,
    "connect_retries_timeout": SECONDS,
}


def ring(task: Any, *, expires: float | None = None, **arguments: int) -> bool:
    """Ring once, for a second at most. False while Redis is away: the row waits for the next ring."""
    try:
        with asking_redis(), _producers(os.getpid(), _address()).acquire(block=True) as producer:
            task.apply_async(kwargs=arguments, expires=expires, producer=producer, retry=False)
    except RedisAway as away:
        level = (
            logging.WARNING if away.__cause__ else logging.DEBUG
        )  # said once, not by each of many
        logger.log(level, "nobody was rung for %s: Redis is away: %s", arguments, away)
        return False
    return True


def ring_on_commit(task: Any, **arguments: int) -> None:
    """Ring once the rows are there; nothing that goes wrong with the bell fails the request."""
    transaction.on_commit(partial(ring, task, **arguments), robust=True)


def _address() -> str:
    address: str = current_app.conf.broker_write_url
    return address


@cache
def _producers(pid: int, url: str) -> ProducerPool:  # noqa: ARG001 -- connections do not survive a fork
    connection = current_app.connection_for_write(url=url, transport_options=BRIEFLY)
    return ProducerPool(connection.Pool(limit=MOST_AT_ONCE), limit=MOST_AT_ONCE)
