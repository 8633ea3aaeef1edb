"""Wrong words on the command line: one line that says what is wrong, and exit code 2."""

import os
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


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LOG_LEVEL", "foo", "LOG_LEVEL='foo': write one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("CONFIRM_MINUTES", "abc", "CONFIRM_MINUTES='abc': write a whole number"),
        ("CONFIRM_MINUTES", "0", "CONFIRM_MINUTES=0: write 1 or more"),
        ("DEBUG", "maybe", "DEBUG='maybe': write true or false"),
        ("DATABASE_URL", "mysql://x", "write postgresql://"),
        ("PUBLIC_URL", "ftp://x", "PUBLIC_URL='ftp://x': write http://host[:port]"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(name, value, says):
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", "doctor"], cwd=settings.BASE_DIR, check=False,
        env={**os.environ, name: value}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (said.returncode, said.stdout) == (2, "")
    (line,) = said.stderr.splitlines()
    assert says in line
    assert name in line
