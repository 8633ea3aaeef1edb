#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys

from django.core.management import execute_from_command_line
from django.core.management.base import CommandParser


def say_errors_in_one_line() -> None:
    """argparse prints the whole usage before an error; --help has it, and scripts want the error."""
    CommandParser.print_usage = lambda *_: None  # type: ignore[method-assign]


if __name__ == "__main__":
    os.umask(0o077)  # what commands write is for this user alone
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")
    say_errors_in_one_line()
    execute_from_command_line(sys.argv)
