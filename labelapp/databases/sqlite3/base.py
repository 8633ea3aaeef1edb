"""SQLite as Django has it, except that whatever writes waits in a queue instead of asking again and again.

SQLite lets a writer that finds the database locked sleep up to 100 ms at a time while others overtake it:
with many writers the last waits for seconds. And SQLite before 3.51.3 can lose commits in WAL mode when one
connection checkpoints while another commits; a commit and the checkpoint after it are one turn here, so no
two of them ever meet (docs/decisions/0021). Reading never waits. Knows statements, nothing of what they say.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

LOOK_AGAIN_SECONDS = 0.0005
READS = ("SELECT", "EXPLAIN", "PRAGMA TABLE_", "PRAGMA INDEX_", "PRAGMA FOREIGN_KEY_")
_front = threading.Lock()  # who of this process is next; the file says which process


class QueuedCursor(base.SQLiteCursorWrapper):
    """Waits for the connection's turn before a statement that may write."""

    def __init__(self, connection: Any, *, queue: "DatabaseWrapper") -> None:
        """Nothing is asked yet."""
        super().__init__(connection)
        self._queue = queue
        self._read_early: Iterator[Any] | None = None  # what an INSERT gave back

    def execute(self, query: str, params: Any = None) -> "QueuedCursor":
        """As SQLite's, in the connection's turn."""
        self._read_early = None
        with self._queue.turn_for(query):
            super().execute(query, params)
            if self._queue.ends_with_statement and self.description is not None:
                self._read_early = iter(super().fetchall())  # it commits with its last row
        return self

    def executemany(self, query: str, param_list: Iterable[Any]) -> "QueuedCursor":
        """As SQLite's, in the connection's turn."""
        self._read_early = None
        with self._queue.turn_for(query):
            super().executemany(query, param_list)
        return self

    def executescript(self, script: str) -> "QueuedCursor":
        """As SQLite's, in the connection's turn."""
        self._read_early = None
        with self._queue.turn_for(script):
            super().executescript(script)
        return self

    def fetchone(self) -> Any:
        """The next row, or None."""
        return super().fetchone() if self._read_early is None else next(self._read_early, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        """Some of the rows that are left."""
        if self._read_early is None:
            return super().fetchmany(size)
        return list(islice(self._read_early, size))

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        return super().fetchall() if self._read_early is None else list(self._read_early)

    def __next__(self) -> Any:
        return super().__next__() if self._read_early is None else next(self._read_early)


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection; it has its turn from BEGIN to COMMIT or ROLLBACK, or for one statement."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Nothing is begun."""
        super().__init__(*arguments, **named)
        self._turn: int | None = None  # the open lock file

    def create_cursor(self, name: str | None = None) -> QueuedCursor:
        """A cursor that waits for this connection's turn."""
        assert name is None, "SQLite has no named cursors"
        cursor: QueuedCursor = self.connection.cursor(
            factory=lambda connection: QueuedCursor(connection, queue=self)
        )
        return cursor

    @property
    def ends_with_statement(self) -> bool:
        """The turn belongs to one statement, which is a transaction of its own."""
        return self._turn is not None and not self.connection.in_transaction

    @contextmanager
    def turn_for(self, query: str) -> Iterator[None]:
        """A statement's turn; one that begins a transaction leaves it to the transaction's end."""
        if query.lstrip()[:24].upper().startswith(READS):
            yield
            return
        self._wait_for_turn()
        try:
            yield
        finally:
            if not self._is_in_transaction():
                self._end_turn()

    def _is_in_transaction(self) -> bool:
        try:
            return self.connection is not None and self.connection.in_transaction
        except base.Database.ProgrammingError:  # closed
            return False

    def _commit(self) -> None:
        try:
            super()._commit()
        finally:
            if not self._is_in_transaction():
                self._end_turn()

    def _rollback(self) -> None:
        try:
            super()._rollback()
        finally:
            self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._end_turn()

    def _wait_for_turn(self) -> None:
        if self._turn is not None or self.is_in_memory_db():
            return
        deadline = time.monotonic() + self.settings_dict["OPTIONS"].get("timeout", 5)
        if not _front.acquire(timeout=deadline - time.monotonic()):
            raise OperationalError("database is locked: too many writers wait")
        try:
            self._turn = _locked(f"{self.settings_dict['NAME']}-queue", deadline=deadline)
        except BaseException:
            _front.release()
            raise

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            os.close(turn)
            _front.release()


def _locked(path: str, *, deadline: float) -> int:
    """The lock file, held; whoever dies lets go of it."""
    turn = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(turn)
                raise OperationalError("database is locked: another process writes") from None
            time.sleep(LOOK_AGAIN_SECONDS)
        else:
            return turn
