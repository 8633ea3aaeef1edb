"""Both sides of one attempt go into the turn's stream at one pace, whoever writes them.

Knows the stream and the clock; how far each side may be shown is decided in `core.shared_pace`.
"""

import threading
import time
from collections.abc import Callable
from random import SystemRandom

from comparisons.core.shared_pace import SharedPace
from comparisons.services.streaming import SIDES, TurnStream

TICK_SECONDS = 0.1


class Pacing:
    """Takes text from the threads that write, and lets it out from the one that calls `run`.

    What was not let out is in this process alone: neither Redis nor the database is ever ahead of the eye.
    """

    def __init__(self, stream: TurnStream, *, is_stopped: Callable[[], bool]) -> None:
        """`is_stopped`: whether the person asked to stop, or the turn is not ours any more."""
        self._stream = stream
        self._is_stopped = is_stopped
        self._pace = SharedPace((SIDES[0], SIDES[1]), random=SystemRandom())
        self._changed = threading.Condition()

    def add(self, side: str, piece: str) -> None:
        """Take a piece of a side."""
        with self._changed:
            self._pace.add(side, piece, now=time.monotonic())
            if not self._pace.has_begun:
                self._changed.notify_all()  # the first words do not wait for a tick

    def restart(self, side: str) -> None:
        """A side is written anew."""
        with self._changed:
            cleared = self._pace.restart(side)
            if cleared:
                self._stream.publish("reset", side=cleared[0] if len(cleared) == 1 else "")

    def leave(self, side: str) -> None:
        """Nothing more comes of a side; the other one no longer waits for it."""
        with self._changed:
            self._pace.leave(side)

    def shown(self, side: str, *, whole: str) -> str:
        """Wait until a whole side was let out. Gives its text, of a stopped turn what was let out."""
        with self._changed:
            self._pace.end(side, whole=whole)
            while not self._pace.is_settled(side):
                if self._is_stopped():
                    self._pace.stop()
                    break
                self._changed.wait(TICK_SECONDS)
            return self._pace.shown(side)

    def run(self) -> None:
        """Let text out until both sides are whole and shown, left, or stopped."""
        with self._changed:
            while not all(self._pace.is_settled(side) for side in SIDES):
                if self._is_stopped():
                    self._pace.stop()
                    return
                self._stream.publish_texts(self._pace.tick(time.monotonic()))
                if any(self._pace.is_settled(side) for side in SIDES):
                    self._changed.notify_all()
                self._changed.wait(TICK_SECONDS)
