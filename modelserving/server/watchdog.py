"""Ends the process when the engine thread hangs in a step or is lost, so that whoever supervises it starts anew.

A device that hangs or refuses everything cannot be called back from inside. Does not know what the engine does.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

EXIT_CODE = 70  # "internal software error" of sysexits.h


class Watched(Protocol):
    """What is watched: whether there is work, when a turn last ended, and whether nothing can be done here any more."""

    working: bool
    last_turn: float
    lost: bool


class Watchdog:
    """Looks now and then from a thread of its own."""

    def __init__(
        self,
        watched: Watched,
        *,
        limit: float,
        clock: Callable[[], float],
        end: Callable[[int], None],
    ) -> None:
        """Call `end` once a turn has taken more than `limit` seconds."""
        self._watched = watched
        self._limit = limit
        self._clock = clock
        self._end = end
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def look(self) -> None:
        """End the process if the present turn has taken too long, or the engine is lost."""
        if self._watched.lost:
            logger.critical("the engine can do nothing any more: ending the process")
            self._end(EXIT_CODE)
            return
        taken = self._clock() - self._watched.last_turn
        if self._watched.working and taken > self._limit:
            logger.critical("the engine has been in one step for %.0f s: ending the process", taken)
            self._end(EXIT_CODE)

    def _watch(self) -> None:
        while not self._stopped.wait(min(5.0, self._limit / 4)):
            self.look()
