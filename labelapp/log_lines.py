"""How a line of the log is written: whole, but for the secrets that some addresses carry.

Knows which addresses do, as deploy/nginx.conf does; knows nothing of who writes or why.
"""

import logging
import re

SECRET_ADDRESS = re.compile(r"(/(?:sign-in/link|join)/)[\w-]+")  # a link, an invitation


class SecretsCut(logging.Formatter):
    """The line as usual, a traceback included, with a dash for each secret."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return SECRET_ADDRESS.sub(r"\1-", super().format(record))
