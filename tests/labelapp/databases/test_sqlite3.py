"""SQLite's writers take turns: nobody is overtaken into an error, nobody keeps the turn."""

import fcntl
import os
import threading
import time

import pytest
from django.db import OperationalError, connection, connections, transaction

from comparisons.models import RateWindow

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has one writer"),
]
ENDS = "2026-01-01T00:00Z"


@pytest.fixture
def queue():
    """The lock file, as another process would open it."""
    opened = os.open(f"{connection.settings_dict['NAME']}-queue", os.O_RDWR | os.O_CREAT, 0o600)
    yield opened
    os.close(opened)


def is_free(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(opened, fcntl.LOCK_UN)
    return True


def test_the_turn_lasts_as_long_as_the_transaction(queue):
    with transaction.atomic():
        RateWindow.objects.create(key="a", ends_at=ENDS)
        with transaction.atomic():
            assert not is_free(queue)
        assert not is_free(queue)

    assert is_free(queue)


def test_the_turn_ends_with_a_rollback_and_with_the_connection(queue):
    def broken() -> None:
        with transaction.atomic():
            raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        broken()
    assert is_free(queue)

    def closed_in_a_thread() -> None:
        begun = transaction.atomic()
        begun.__enter__()
        connections["default"].close()

    thread = threading.Thread(target=closed_in_a_thread)
    thread.start()
    thread.join()
    assert is_free(queue)


def test_many_writers_at_once_all_get_their_turn():
    def write(number: int) -> None:
        for turn in range(10):
            with transaction.atomic():
                RateWindow.objects.create(key=f"{number}-{turn}", ends_at=ENDS)
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert RateWindow.objects.count() == 80


def test_another_process_is_waited_for_and_in_the_end_it_says_so(queue, monkeypatch):
    fcntl.flock(queue, fcntl.LOCK_EX)

    def patience(seconds: float) -> None:
        options = {**connection.settings_dict["OPTIONS"], "timeout": seconds}
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    def write() -> None:
        with transaction.atomic():
            RateWindow.objects.create(key="a", ends_at=ENDS)

    patience(0.3)
    with pytest.raises(OperationalError, match="locked"):
        write()

    patience(60)
    threading.Timer(0.1, lambda: fcntl.flock(queue, fcntl.LOCK_UN)).start()
    began = time.monotonic()
    write()
    assert time.monotonic() - began > 0.05
    assert RateWindow.objects.get().key == "a"
