"""Database connections that are not held while nothing is asked of the database.

Knows Django's connection of the present thread; knows nothing of what it was used for.
"""

from django.db import connection


def let_go_of_connection() -> None:
    """Close this thread's connection, unless a transaction is open; the next query opens another."""
    if not connection.in_atomic_block:
        connection.close()
