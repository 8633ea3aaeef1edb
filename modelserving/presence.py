"""When a model server was last ready, kept in Redis by whoever looks after them; read by people, no decision rests on it.

Knows two keys that fade and one that stays; knows nothing of servers or pages.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from modelserving.redis_away import RedisAway, asking_redis, brief_client

logger = logging.getLogger(__name__)

FADES_SECONDS = 60  # the clock rings every ten, and one look may take five
LOOKED, READY, LAST_READY = (
    "labelapp:servers:looked",
    "labelapp:servers:ready",
    "labelapp:servers:last-ready",
)
BEGAN = time.monotonic()  # of this process: the clock and the workers begin with the web


@dataclass(frozen=True, kw_only=True)
class Presence:
    """How the model servers stood when somebody last looked."""

    is_looked_after: bool  # False: nobody looked for a minute, so nothing else is known
    is_neglected: bool  # nobody did though there was a minute to: no clock or no worker runs
    is_ready: bool  # some server was, within the last minute
    ready_at: datetime | None  # the last time any was


def note(*, is_ready: bool) -> None:
    """Write down that somebody looked, and whether a server was ready."""
    try:
        with asking_redis(), brief_client() as client:
            seconds, _microseconds = client.time()  # Redis' clock: hosts may differ
            client.set(LOOKED, seconds, ex=FADES_SECONDS)
            if is_ready:
                client.set(READY, seconds, ex=FADES_SECONDS)
                client.set(LAST_READY, seconds)
    except RedisAway as away:
        logger.info("it was not noted how the model servers stand: %s", away)


def presence() -> Presence | None:
    """How they stand; None where Redis is away too."""
    try:
        with asking_redis(), brief_client() as client:
            looked, ready, last = client.mget(LOOKED, READY, LAST_READY)
    except RedisAway:
        return None
    return Presence(
        is_looked_after=looked is not None,
        is_neglected=looked is None and time.monotonic() - BEGAN > FADES_SECONDS,
        is_ready=ready is not None,
        ready_at=datetime.fromtimestamp(int(last), UTC) if last else None,
    )  # fmt: skip
