"""Several choices in one transaction, each acknowledged only after its COMMIT.

SQLite writes one transaction at a time and waits for the disk at each: what arrives during one wait is
stored by the next. PostgreSQL does this by itself. Knows transactions; knows nothing of choices.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from django.db import DatabaseError, connection, transaction
from django.utils.translation import get_language, override

T = TypeVar("T")
MOST = 16  # in one transaction, so that nobody waits for a crowd


class NotStored(DatabaseError):
    """Nothing of a transaction was kept, for a reason that may lie in what it shared it with."""


@dataclass(kw_only=True, eq=False)
class _Piece:
    """What one thread wants stored."""

    work: Callable[[], Any]
    language: str | None
    is_done: bool = False
    result: Any = None
    failure: BaseException | None = None


_waiting: deque[_Piece] = deque()
_turn = threading.Lock()


def stored_together(work: Callable[[], T]) -> T:
    """What `work` returns, once it is committed; a failure of its own undoes only itself.

    `work` may run in another thread of this process, with that thread's connection.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic():
            return work()
    mine = _Piece(work=work, language=get_language())
    _waiting.append(mine)
    with _turn:
        while not mine.is_done:
            _store([_waiting.popleft() for _ in range(min(MOST, len(_waiting)))])
    if mine.failure is not None:
        raise mine.failure
    return cast("T", mine.result)


def _store(pieces: list[_Piece]) -> None:
    """Everything in one transaction; where that cannot be committed, nobody is told otherwise."""
    undone: BaseException | None = NotStored("the transaction was not committed: send it again")
    try:
        with transaction.atomic():
            for piece in pieces:
                _run(piece)
            if transaction.get_rollback():  # the database gave all of it up, not one piece alone
                raise NotStored("the database gave up the transaction: send it again")
    except DatabaseError as failure:
        undone = failure
    else:
        undone = None
    finally:
        for piece in pieces:
            piece.failure = undone or piece.failure
            piece.is_done = True


def _run(piece: _Piece) -> None:
    try:
        with transaction.atomic(), override(piece.language):
            piece.result = piece.work()
    except Exception as failure:  # noqa: BLE001 -- handed to the thread whose piece it is
        piece.failure = failure
