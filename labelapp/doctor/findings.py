"""What a check says: what is wrong, how bad, and how to mend it.

Knows no check; every check yields these.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

MOST_NAMED = 5


class Severity(StrEnum):
    """An error breaks a promise; a warning may become one."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    what: str
    cure: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise and the function that looks whether it holds."""

    name: str
    promise: str
    look: Callable[[], Iterable[Finding]]


def warning(*, what: str, cure: str) -> Finding:
    """A finding that does not fail the doctor."""
    return Finding(what=what, cure=cure, severity=Severity.WARNING)


def named(things: Iterable[object]) -> Iterator[str]:
    """The first few by name and the rest as a number: nothing at all when there are none."""
    iterator = iter(things)
    first = [str(each) for each in islice(iterator, MOST_NAMED)]
    if not first:
        return
    rest = sum(1 for _ in iterator)
    yield ", ".join(first) + (f" and {rest} more" if rest else "")
