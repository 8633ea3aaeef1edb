"""Beat rings on whatever happens to the clock."""

from datetime import UTC, datetime, timedelta

import pytest

from labelapp.beat import Unfiled
from labelapp.celery import app


class Noting(Unfiled):
    """Notes whom it would ring for."""

    def __init__(self, *args, **options) -> None:
        self.rung = []
        super().__init__(*args, **options)

    def apply_entry(self, entry, **_options) -> None:
        self.rung.append(entry.name)

    @property
    def producer(self) -> None:
        return None

    def all_rung(self) -> list[str]:
        """Whom it rings for until it would sleep."""
        self.rung.clear()
        while self.tick() <= 0:
            pass
        return sorted(self.rung)


@pytest.fixture
def at(monkeypatch):
    """A clock to set."""
    clock = [datetime(2031, 3, 4, 12, tzinfo=UTC)]
    monkeypatch.setattr(app, "now", lambda: clock[0])

    def put(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)

    return put


def test_everything_is_due_at_the_start_and_then_in_its_time(at):
    beat = Noting(app)

    assert beat.all_rung() == sorted(app.conf.beat_schedule)
    assert beat.all_rung() == []
    at(5.1)
    assert beat.all_rung() == ["reconcile-turns"]


def test_a_clock_that_is_set_back_silences_nobody(at):
    beat = Noting(app)
    beat.all_rung()

    at(-3600)

    assert beat.all_rung() == sorted(app.conf.beat_schedule)
    at(5.1)
    assert beat.all_rung() == ["reconcile-turns"]


def test_a_clock_that_is_set_forward_silences_nobody(at):
    beat = Noting(app)
    beat.all_rung()

    at(3600)

    assert beat.all_rung() == sorted(app.conf.beat_schedule)


def test_beat_runs_by_it():
    assert app.conf.beat_scheduler == f"{Unfiled.__module__}:{Unfiled.__name__}"
