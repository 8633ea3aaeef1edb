"""What every test stands on: throw-away folders, no network, two torch threads.

Knows nothing of any one app.
"""

import os
import socket
import tempfile
from pathlib import Path

import django
import pytest

from tests.compiled import share_compiled

# Before Django reads its settings, which is why pytest-django is not told of them: tests own their folders, and never
# touch var/ nor what runs there.
_SCRATCH = Path(tempfile.mkdtemp(prefix="labelapp-tests-"))
os.environ["LABELAPP_VAR"] = str(_SCRATCH / "var")
share_compiled(_SCRATCH / "var")
os.environ.pop("ARTEFACTS", None)
os.environ.setdefault("PUBLIC_URL", "http://127.0.0.1:8000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_CACHE", str(_SCRATCH / "datasets"))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop beside live_server
os.environ["DJANGO_SETTINGS_MODULE"] = "labelapp.settings"
django.setup()

pytest_plugins = ["tests.redis_server"]

_connect = socket.socket.connect


class NetworkForbidden(OSError):
    """A test tried to leave this machine."""


def _connect_here_only(self: socket.socket, address: object) -> None:
    if self.family in {socket.AF_INET, socket.AF_INET6}:
        host = str(address[0]) if isinstance(address, tuple) else str(address)
        if not (host.startswith("127.") or host in {"::1", "localhost", "0.0.0.0"}):
            raise NetworkForbidden(f"tests stay on this machine, yet something connects to {host}")
    _connect(self, address)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix) -> None:
    """SQLite in a file, as in production: threads of a test see each other's commits and wait in turn."""
    from django.db import connections

    database = connections["default"].settings_dict
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"]["NAME"] = str(_SCRATCH / f"test-{os.getpid()}.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker) -> None:
    """PostgreSQL's housekeeping stays away: what tests roll back it counts as empty tables, and plans for those."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(
                f"ALTER TABLE {connection.ops.quote_name(table)} SET (autovacuum_enabled = false)"
            )


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every connection goes to this machine or fails."""
    monkeypatch.setattr(socket.socket, "connect", _connect_here_only)


@pytest.fixture(autouse=True)
def artefacts(settings, tmp_path) -> Path:
    """A fresh artefact store for each test."""
    settings.ARTEFACTS = tmp_path / "artefacts"
    settings.ARTEFACTS.mkdir()
    return settings.ARTEFACTS


@pytest.fixture(autouse=True)
def signed_in_just_now(monkeypatch):
    """`force_login` stands for signing in, which shows who one is."""
    from django.test.client import ClientMixin

    from comparisons.services.confirmations import note_confirmation

    login = ClientMixin._login

    def and_confirm(self, user, backend=None) -> None:
        login(self, user, backend)
        session = self.session
        note_confirmation(session)
        session.save()

    monkeypatch.setattr(ClientMixin, "_login", and_confirm)


@pytest.fixture(autouse=True)
def fast_passwords(settings):
    """Argon2 is slow on purpose; tests are not."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup", "live_server"}


def pytest_addoption(parser) -> None:
    """`--database-only`: the tests that can tell one database from another."""
    parser.addoption("--database-only", action="store_true", help="only tests that use a database")


def pytest_collection_modifyitems(config, items) -> None:
    """Leave out what needs no database when asked to."""
    if not config.getoption("--database-only"):
        return
    kept = [each for each in items if _uses_database(each)]
    left_out = [each for each in items if not _uses_database(each)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def _uses_database(item) -> bool:
    if item.get_closest_marker("one_database"):
        return False
    has_mark = item.get_closest_marker("django_db") is not None
    return has_mark or bool(DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())))


def pytest_sessionfinish() -> None:
    """Remove what the whole run left in its scratch folder."""
    import shutil

    shutil.rmtree(_SCRATCH, ignore_errors=True)
