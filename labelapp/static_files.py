"""Gather static files with hashed names when one of them changed since the last time.

Knows files and finders; knows nothing of pages.
"""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

STAMP = ".sources"


def collect_when_changed() -> bool:
    """Run collectstatic unless nothing changed. True when it ran."""
    root = Path(settings.STATIC_ROOT)
    stamp, now = root / STAMP, sources_digest()
    if stamp.exists() and stamp.read_text() == now and (root / "staticfiles.json").exists():
        return False
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(now)
    return True


def sources_digest() -> str:
    """A digest over name, size and time of every static file there is."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
