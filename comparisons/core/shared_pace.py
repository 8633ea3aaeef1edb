"""How far each of two texts may be shown while they are written, so that nobody sees which one came faster.

Plain values and the caller's clock; knows neither who writes or reads nor how pieces travel.
"""

from dataclasses import dataclass, field
from random import Random

from comparisons.core.graphemes import cut_at

SMOOTH_SECONDS = 0.2  # a piece that came in one go is let out over about this time
MEASURABLE_SECONDS = 0.1  # a shorter text shows no pace
USUAL_PACE = 60.0  # characters a second where none was seen: about twice what people read
LEAST_WAIT = 10.0  # seconds for which the rest of the longer text keeps the pace that was seen …
MOST_WAIT = 30.0
WAIT_FACTOR = 2.0  # … of the time that both were shown
MOST_SPARE = 8  # characters; about a word


@dataclass(eq=False)
class _Side:
    """One text: what came, how much of it was let out, and when it came."""

    text: str = ""
    shown: int = 0
    has_ended: bool = False
    pieces: list[str] = field(default_factory=list)  # came since the last tick
    length: int = 0
    came: int = 0  # characters, in pieces
    first: int = 0  # of them in the first piece
    first_at: float = 0.0
    last_at: float = 0.0

    def add(self, piece: str, *, now: float) -> None:
        self.pieces.append(piece)
        self.length += len(piece)
        if not self.came:
            self.first, self.first_at = len(piece), now
        self.came += len(piece)
        self.last_at = now

    def gather(self) -> None:
        self.text += "".join(self.pieces)
        self.pieces.clear()

    @property
    def is_settled(self) -> bool:
        """Whether it is whole and was let out."""
        return self.has_ended and self.shown == self.length

    @property
    def pace(self) -> float:
        """Characters a second from its first piece to its last one."""
        took = self.last_at - self.first_at
        return (self.came - self.first) / took if took >= MEASURABLE_SECONDS else USUAL_PACE


class SharedPace:
    """Two texts under one pace. Times are seconds of any clock that never goes back.

    While both are written, each is let out as far as the other: the number of characters follows the shorter one.
    When one is whole and shown, the rest of the other goes on at the slower pace of the two, for a time.
    """

    def __init__(self, sides: tuple[str, str], *, random: Random) -> None:
        """Nothing came yet."""
        self._sides = {letter: _Side() for letter in sides}
        self._random = random
        self._place = 0.0  # characters that are let out of each side
        self._begun_at: float | None = None
        self._ticked_at = 0.0
        self._alone_since: float | None = None
        self._spare = 0
        self._spare_at = -1
        self._is_stopped = False

    @property
    def has_begun(self) -> bool:
        """Whether anything was shown."""
        return self._begun_at is not None

    def add(self, side: str, piece: str, *, now: float) -> None:
        """A piece of a side came."""
        self._sides[side].add(piece, now=now)

    def end(self, side: str, *, whole: str) -> None:
        """A side is whole; what of it did not come in pieces is taken from `whole`."""
        one = self._sides[side]
        one.gather()
        one.text, one.length = whole, len(whole)
        one.has_ended = True

    def leave(self, side: str) -> None:
        """Nothing more comes of a side, and what was not shown of it never will be."""
        one = self._sides[side]
        one.gather()
        one.text = one.text[: one.shown]
        one.length, one.has_ended = one.shown, True

    def restart(self, side: str) -> tuple[str, ...]:
        """A side is written anew. Gives the sides whose shown text is to be forgotten.

        While both are written these are both or none, so that nothing says which one failed.
        """
        others = [other for letter, other in self._sides.items() if letter != side]
        is_alone = all(other.is_settled for other in others)
        cleared = [side] if is_alone else list(self._sides)
        had_text = any(self._sides[letter].shown for letter in cleared)
        self._sides[side] = _Side()
        for letter in cleared:
            self._sides[letter].shown = 0
        self._place, self._begun_at = 0.0, None
        return tuple(cleared) if had_text else ()

    def stop(self) -> None:
        """Let nothing more out."""
        self._is_stopped = True

    def is_settled(self, side: str) -> bool:
        """Whether the side is whole and all of it was let out."""
        return self._sides[side].is_settled

    def shown(self, side: str) -> str:
        """What was let out of a side."""
        one = self._sides[side]
        one.gather()
        return one.text[: one.shown]

    def tick(self, now: float) -> dict[str, str]:
        """What may be shown now that was not yet, by side."""
        for one in self._sides.values():
            one.gather()
        writing = [one for one in self._sides.values() if not one.is_settled]
        if self._is_stopped or not writing:
            return {}
        self._move(writing, now=now)
        return {
            letter: text
            for letter, one in self._sides.items()
            if one in writing and (text := self._let_out(one))
        }

    def _move(self, writing: list[_Side], *, now: float) -> None:
        """Go on as far as the pace allows."""
        limit = self._limit(writing)
        if self._begun_at is None:
            if limit <= 0:
                return
            self._begun_at, self._ticked_at = now, now - SMOOTH_SECONDS
        if len(writing) == 1 and self._alone_since is None:
            self._alone_since = now
        stock = limit - self._place
        pace = max(min(one.pace for one in self._sides.values()), stock / self._patience(now))
        # An even flow would say that all of it is there already.
        step = pace * (now - self._ticked_at) * self._random.uniform(0.6, 1.4)
        self._place = max(self._place, min(limit, self._place + step))
        self._ticked_at = now

    def _limit(self, writing: list[_Side]) -> int:
        """How far the side that has least has come, less a spare part that changes whenever it grows.

        Without the spare part, the side that is waited for would always end where one of its own pieces ends.
        """
        least = min(one.length for one in writing)
        if least != self._spare_at:
            self._spare, self._spare_at = self._random.randint(1, MOST_SPARE), least
        return min(one.length if one.has_ended else one.length - self._spare for one in writing)

    def _patience(self, now: float) -> float:
        """Seconds over which what is in stock is let out at the latest."""
        if self._alone_since is None or self._begun_at is None:
            return SMOOTH_SECONDS
        wait = WAIT_FACTOR * (self._alone_since - self._begun_at)
        until = self._alone_since + min(MOST_WAIT, max(LEAST_WAIT, wait))
        return max(SMOOTH_SECONDS, until - now)

    def _let_out(self, one: _Side) -> str:
        most = int(self._place)
        is_rest = one.has_ended and most >= one.length
        place = one.length if is_rest else cut_at(one.text, most)
        text = one.text[one.shown : place]
        one.shown = max(one.shown, place)
        return text
