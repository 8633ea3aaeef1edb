"""Leave an endpoint alone for a while after it failed, then let one request try it.

Knows failures and the clock it is given; knows nothing of what failed.
"""

import threading
import time
from collections.abc import Callable

FAILURES_TO_OPEN = 3
FIRST_PAUSE = 0.5  # seconds; doubles with every failed trial
LONGEST_PAUSE = 2.0  # short: trying a server that is away costs little, waiting costs people
TRIAL_SECONDS = 60.0  # a trial that never reports back is given up after this


class CircuitBreaker:
    """Closed: everybody passes. Open: nobody, until the pause is over; then one trial at a time."""

    def __init__(
        self,
        *,
        failures_to_open: int = FAILURES_TO_OPEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start closed."""
        self._failures_to_open = failures_to_open
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it keeps requests away at this moment."""
        with self._lock:
            return self._is_tripped and self._clock() < self._open_until

    def may_pass(self) -> bool:
        """Whether this request may try; after a pause, only the first that asks."""
        with self._lock:
            if not self._is_tripped:
                return True
            now = self._clock()
            if now < self._open_until:
                return False
            self._open_until = now + TRIAL_SECONDS
            return True

    def succeeded(self) -> None:
        """The endpoint works: close."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """The endpoint failed once more."""
        with self._lock:
            self._failures += 1
            beyond = max(0, self._failures - self._failures_to_open)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(beyond, 10))
            self._open_until = self._clock() + pause

    @property
    def _is_tripped(self) -> bool:
        return self._failures >= self._failures_to_open
