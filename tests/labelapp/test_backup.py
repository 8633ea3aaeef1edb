"""The backup that the documentation shows, run as it stands: nobody else on the machine can read it."""

import os
import re
import stat
import subprocess
import sys

from django.conf import settings

SQLITE3 = f"""#!{sys.executable}
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute(sys.argv[2])
"""
NOTHING = "#!/bin/sh\n"


def test_the_backup_as_written_is_readable_by_its_owner_alone(tmp_path):
    text = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    (backup,) = re.findall(r"## Backup and restore.*?```sh\n(.*?)```", text, re.DOTALL)
    for folder in ("var", "backup", "bin"):
        (tmp_path / folder).mkdir()
    for name, program in {"sqlite3": SQLITE3, "rsync": NOTHING}.items():
        (tmp_path / "bin" / name).write_text(program)
        (tmp_path / "bin" / name).chmod(0o755)
    script = "umask 022\n" + backup.replace("/backup/", f"{tmp_path}/backup/")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"

    subprocess.run(
        ["sh", "-ec", script], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True
    )

    (made,) = (tmp_path / "backup").iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
