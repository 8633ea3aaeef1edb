"""What clients asked for and what they were told, line by line, and whether the database agrees.

Pure: events and rows go in, findings come out; knows neither HTTP nor SQL.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

KINDS = ("invoke", "ok", "fail", "given")


@dataclass(frozen=True, kw_only=True)
class Event:
    """`invoke` before a choice is sent, `ok` or `fail` after its answer, `given` with an item.

    A choice that was sent and has neither `ok` nor `fail` may or may not be stored.
    """

    kind: str
    person: str
    key: str  # of the choice; of the item where one was given
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One comparison as the database has it."""

    key: str
    person: str
    item: str  # the showing that was judged
    turn: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What does not fit; all empty when every promise was kept."""

    missing: tuple[str, ...]  # acknowledged, not stored
    doubled: tuple[str, ...]  # stored twice for a turn and a person
    phantom: tuple[str, ...]  # stored, never sent
    given_twice: tuple[str, ...]  # items that two people had, or that were judged twice

    @property
    def is_good(self) -> bool:
        """Nothing was found."""
        return not (self.missing or self.doubled or self.phantom or self.given_twice)


class History:
    """Appends events to a file as they happen."""

    def __init__(self, path: Path) -> None:
        """Start an empty one."""
        self.path = path
        self._stream: IO[str] = path.open("w")

    def note(self, kind: str, *, person: str, key: str) -> None:
        """One more event."""
        event = Event(kind=kind, person=person, key=key, at=time.time())
        self._stream.write(json.dumps(asdict(event)) + "\n")

    def flush(self) -> None:
        """Let others read what was noted so far."""
        self._stream.flush()

    def close(self) -> None:
        """Put everything on disk."""
        self._stream.close()


def read_events(path: Path) -> list[Event]:
    """The events of a finished history."""
    with path.open() as lines:
        return [Event(**json.loads(line)) for line in lines]


def check(events: Iterable[Event], stored: Iterable[Stored]) -> Findings:
    """Compare what people were told with what is there."""
    told: dict[str, set[str]] = {kind: set() for kind in KINDS}
    holders: dict[str, set[str]] = {}
    for event in events:
        told[event.kind].add(event.key)
        if event.kind == "given":
            holders.setdefault(event.key, set()).add(event.person)
    rows = list(stored)
    keys = {row.key for row in rows}
    pairs = Counter((row.turn, row.person) for row in rows)
    judged = Counter(row.item for row in rows)
    shared = {item for item, people in holders.items() if len(people) > 1}
    shared |= {item for item, times in judged.items() if times > 1}
    return Findings(
        missing=tuple(sorted(told["ok"] - keys)),
        doubled=tuple(sorted(f"{turn} by {who}" for (turn, who), n in pairs.items() if n > 1)),
        phantom=tuple(sorted(keys - told["invoke"])),
        given_twice=tuple(sorted(shared)),
    )
