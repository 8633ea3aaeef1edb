"""Checks of the database itself and of the files that must be private.

Knows what SQLite and PostgreSQL can say about themselves.
"""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from labelapp.doctor.findings import Check, Finding

PRIVATE = ("secret_key", "modelserver_secret", "labelapp.sqlite3", "demo-accounts.txt")
OTHERS = 0o077


def database_is_sound() -> Iterator[Finding]:
    """Pages and foreign keys of SQLite; durability settings of PostgreSQL."""
    yield from _sqlite() if connection.vendor == "sqlite" else _postgresql()


def schema_is_current() -> Iterator[Finding]:
    """Every migration ran."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        yield Finding(
            what=f"{len(plan)} migrations did not run, first {plan[0][0]}",
            cure="stop everything and start it with ./start, or run manage.py migrate",
        )


def secrets_are_private() -> Iterator[Finding]:
    """Nobody else on this machine reads keys or people's texts."""
    var = Path(settings.VAR)
    for path in [var, *(var / name for name in PRIVATE)]:
        if path.exists() and path.stat().st_mode & OTHERS:
            mode = "700" if path.is_dir() else "600"
            yield Finding(what=f"{path} can be read by others", cure=f"chmod {mode} {path}")


def _sqlite() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check(5)")
        said = [row[0] for row in cursor.fetchall()]
        if said != ["ok"]:
            yield Finding(what=f"SQLite: {'; '.join(said)}", cure="restore the newest backup")
        cursor.execute("PRAGMA foreign_key_check")
        if broken := cursor.fetchall():
            yield Finding(
                what=f"{len(broken)} rows point nowhere, first in {broken[0][0]}",
                cure="restore the newest backup",
            )
        cursor.execute("PRAGMA synchronous")
        synchronous = cursor.fetchone()[0]
    if synchronous < 2:  # 2 is FULL
        yield Finding(
            what="SQLite does not wait for the disk: choices can be lost when the power fails",
            cure="remove PRAGMA synchronous from your settings; the default is FULL",
        )


def _postgresql() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        for name, bad in (("fsync", {"off"}), ("synchronous_commit", {"off", "local"})):
            cursor.execute(f"SHOW {name}")
            value = cursor.fetchone()[0]
            if value in bad:
                yield Finding(
                    what=f"PostgreSQL: {name} is {value}: choices can be lost when the power fails",
                    cure=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()",
                )


CHECKS = (
    Check(name="database", promise="the database is sound", look=database_is_sound),
    Check(name="schema", promise="every migration ran", look=schema_is_current),
    Check(name="private", promise="secrets are private", look=secrets_are_private),
)
