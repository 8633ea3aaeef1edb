#!/usr/bin/env python
"""Django's command line for this project."""

import importlib
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.core.management.base import CommandParser

from labelapp.env import WRONG_SETTING, EnvError


def say_errors_in_one_line() -> None:
    """argparse prints the whole usage before an error; --help has it, and scripts want the error."""
    CommandParser.print_usage = lambda *_: None  # type: ignore[method-assign]


def refuse_wrong_settings() -> None:
    """A variable that holds what it may not is named in one line, before any command begins."""
    try:
        importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])
    except (EnvError, ImproperlyConfigured) as wrong:
        sys.stderr.write(f"{wrong}\n")
        sys.exit(WRONG_SETTING)


if __name__ == "__main__":
    os.umask(0o077)  # what commands write is for this user alone
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")
    say_errors_in_one_line()
    refuse_wrong_settings()
    execute_from_command_line(sys.argv)
