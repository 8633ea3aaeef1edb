"""Wrong words on the command line: one line that says what is wrong, and exit code 2."""

import subprocess
import sys

import pytest
from django.conf import settings


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("start_run", "sorcery"), "argument KIND: invalid choice: 'sorcery'"),
        (("start_run",), "the following arguments are required: KIND"),
        (("start_run", "ppo", "--set", "learning_rate"), "write key=value"),
        (("export_release", "r", "--format", "nope", "--to", "d"), "invalid choice: 'nope'"),
    ],
)
def test_wrong_words_are_answered_in_one_line(words, says):
    command = [sys.executable, "-W", "ignore", "manage.py", *words]
    said = subprocess.run(
        command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=False
    )

    assert (said.returncode, said.stdout) == (2, "")
    (line,) = said.stderr.splitlines()
    assert says in line
