"""SQLite as Django has it, except that transactions wait in a queue instead of asking again and again.

SQLite lets a writer that finds the database locked sleep up to 100 ms at a time while others overtake it:
with many writers the last waits for seconds. Knows transactions; statements outside of one wait as ever.
"""

import fcntl
import os
import threading
import time
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

LOOK_AGAIN_SECONDS = 0.0005
_front = threading.Lock()  # who of this process is next; the file says which process


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection; it has its turn from BEGIN to COMMIT or ROLLBACK."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Nothing is begun."""
        super().__init__(*arguments, **named)
        self._turn: int | None = None  # the open lock file

    def _start_transaction_under_autocommit(self) -> None:
        self._wait_for_turn()
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> None:
        try:
            super()._commit()
        finally:
            if self.connection is None or not self.connection.in_transaction:
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
