"""PostgreSQL as Django has it, except that a kept connection is asked for its health only when something came in.

A server that goes away says so, or its end of the connection closes; either can be seen without a question.
Knows connections; knows nothing of what is asked over them.
"""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection, at most one question less for every request."""

    def is_usable(self) -> bool:
        """Whether questions can be asked; asks one itself where the server said something unasked."""
        if self.connection is None or self.connection.closed:
            return False
        waiting = select.poll()
        waiting.register(self.connection.fileno(), select.POLLIN)
        return not waiting.poll(0) or super().is_usable()
