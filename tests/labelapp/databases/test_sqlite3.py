"""SQLite's writers take turns: nobody is overtaken into an error, nobody keeps the turn."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections, transaction

from comparisons.models import RateWindow

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has one writer"),
]
ENDS = "2026-01-01T00:00Z"
ROOT = Path(__file__).resolve().parents[3]


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


def kept_waiting(queue: int, write) -> bool:
    """Whether the statement waits while another process has its turn."""
    fcntl.flock(queue, fcntl.LOCK_EX)

    def in_a_thread() -> None:
        write()
        connection.close()

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join(timeout=0.3)
    waits = thread.is_alive()
    fcntl.flock(queue, fcntl.LOCK_UN)
    thread.join()
    return waits


def insert_many() -> None:
    with connection.cursor() as cursor:
        table = RateWindow._meta.db_table
        sql = f"INSERT INTO {table} (key, ends_at, count) VALUES (%s, %s, 0)"
        cursor.executemany(sql, [("b", ENDS), ("c", ENDS)])


@pytest.mark.parametrize(
    "write",
    [
        lambda: RateWindow.objects.create(key="a", ends_at=ENDS),
        lambda: RateWindow.objects.update(ends_at=ENDS),
        lambda: RateWindow.objects.all().delete(),
        insert_many,
    ],
    ids=["insert", "update", "delete", "many"],
)
def test_a_statement_outside_of_a_transaction_waits_too(queue, write):
    assert kept_waiting(queue, write)
    assert is_free(queue)


def test_reading_waits_for_nobody(queue):
    assert not kept_waiting(queue, lambda: list(RateWindow.objects.all()))


def kept_for_others() -> list[str]:
    """What another connection sees, so what is committed."""
    path = f"file:{connection.settings_dict['NAME']}?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as other:
        return [key for (key,) in other.execute(f"SELECT key FROM {RateWindow._meta.db_table}")]


def test_a_row_given_back_by_an_insert_is_committed_before_the_turn_ends(queue):
    with connection.cursor() as cursor:
        table = RateWindow._meta.db_table
        sql = f"INSERT INTO {table} (key, ends_at, count) VALUES (%s, %s, 0), ('z', %s, 0) RETURNING key"
        cursor.execute(sql, ["a", ENDS, ENDS])
        assert is_free(queue)
        assert kept_for_others() == ["a", "z"]
        assert cursor.fetchone() == ("a",)
        assert cursor.fetchmany(5) == [("z",)]
        assert cursor.fetchall() == []


WRITER = """
import sys, time, django
django.setup()
from django.db import connection, transaction
from comparisons.models import RateWindow
with connection.cursor() as cursor:
    cursor.execute("PRAGMA wal_autocheckpoint=1")  # after every commit: as often as it can happen
until = time.monotonic() + 2
number = 0
while time.monotonic() < until:
    key = f"{sys.argv[1]}-{number}"
    if number % 2:
        RateWindow.objects.create(key=key, ends_at="2026-01-01T00:00Z")
    else:
        with transaction.atomic():
            RateWindow.objects.create(key=key, ends_at="2026-01-01T00:00Z")
    RateWindow.objects.filter(key=key).get()
    print(key, flush=True)
    number += 1
"""


@pytest.mark.parametrize("is_killed", [False, True], ids=["to the end", "killed"])
def test_what_was_acknowledged_is_there_whatever_checkpoints_meet(tmp_path, is_killed):
    environment = {
        **os.environ,
        "LABELAPP_VAR": str(tmp_path),
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "labelapp.settings",
    }
    migrate = [sys.executable, "manage.py", "migrate", "comparisons", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(number)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    if is_killed:
        told = [writer.stdout.readline() for writer in writers]
        time.sleep(0.5)
        for writer in writers:
            writer.kill()
        said = {line.strip() for line in told}
    else:
        said = set()
    said |= {line for writer in writers for line in writer.communicate()[0].split()}

    with closing(sqlite3.connect(tmp_path / "labelapp.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = {key for (key,) in database.execute(f"SELECT key FROM {RateWindow._meta.db_table}")}
    assert len(said) > 20
    assert said <= kept
    assert is_killed or said == kept
