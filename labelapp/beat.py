"""When beat rings: by the clock of the machine, whichever way that is set.

Knows the schedule and keeps nothing on disk; what is rung for is in the database.
"""

from datetime import datetime, timedelta
from typing import Any

from celery.beat import Scheduler

LONG_AGO = timedelta(days=1)  # longer than the longest interval


class Unfiled(Scheduler):
    """Everything is due at the start, and again when the clock was set back: one that waits for the old time is silent."""

    _looked_at: datetime | None = None

    def setup_schedule(self) -> None:
        """The entries of the settings, due at once."""
        super().setup_schedule()
        self._make_all_due()

    def tick(self, *args: Any, **options: Any) -> float:
        """Ring for one entry that is due; returns the seconds until there is another."""
        now = self.app.now()
        if self._looked_at is not None and now < self._looked_at:
            self._make_all_due()
        self._looked_at = now
        seconds: float = super().tick(*args, **options)
        return seconds

    def _make_all_due(self) -> None:
        for entry in self.schedule.values():
            entry.last_run_at = entry.default_now() - LONG_AGO
        self._heap = None  # is ordered anew by the present time
