"""Lists a page at a time, "Newer" and "Older": a page goes on from a row, so that new rows never shift it.

Knows keys and their order; knows nothing of what is listed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)
CURSOR = re.compile(r"(?:(\d{1,17})-)?(\d{1,18})")  # microseconds, if by time, and primary key
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # sorts below every time there is
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Row]):
    """Some rows in the order of their list, and where the pages beside them go on."""

    rows: list[Row]
    newer: str = ""  # `?after=` of the page with newer rows; empty: there is none
    older: str = ""  # `?before=` of the page with older ones


def page_of(
    found: QuerySet[Row],
    *,
    asked: Mapping[str, str],
    size: int,
    at: str = "",
    is_oldest_first: bool = False,
) -> Page[Row]:
    """The page asked for by `before` or `after`, else the first; by the time `at` and the primary key."""
    older = _beyond(asked.get("before", ""), at=at, side="lt")
    newer = None if older else _beyond(asked.get("after", ""), at=at, side="gt")
    is_rising = newer is not None or (older is None and is_oldest_first)
    keys = [at, "pk"] if at else ["pk"]
    ordered = found.order_by(*(key if is_rising else f"-{key}" for key in keys))
    read = list(ordered.filter(older or newer or Q())[: size + 1])
    is_cut = len(read) > size
    if ((older or newer) and not read) or (is_rising != is_oldest_first and not is_cut):
        return page_of(found, asked={}, size=size, at=at, is_oldest_first=is_oldest_first)
    rising = read[:size] if is_rising else read[:size][::-1]
    has_newer = is_cut if is_rising else older is not None
    has_older = newer is not None if is_rising else is_cut
    return Page(
        rows=rising if is_oldest_first else rising[::-1],
        newer=_cursor(rising[-1], at=at) if has_newer else "",
        older=_cursor(rising[0], at=at) if has_older else "",
    )


def _cursor(row: Model, *, at: str) -> str:
    return f"{(getattr(row, at) - NEVER) // MICROSECOND}-{row.pk}" if at else str(row.pk)


def _beyond(cursor: str, *, at: str, side: str) -> Q | None:
    """The rows on one side of the one that a page ended with; None where no such row is named."""
    named = CURSOR.fullmatch(cursor)
    if named is None or bool(named[1]) != bool(at):
        return None
    beyond = Q(**{f"pk__{side}": int(named[2])})
    if not at:
        return beyond
    moment = NEVER + int(named[1]) * MICROSECOND
    return Q(**{f"{at}__{side}": moment}) | Q(**{at: moment}) & beyond
