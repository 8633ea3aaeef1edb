"""Django's sessions in the database, looked up by a question whose SQL is made once.

Knows how a session is found; what ends one (signing out, a new password, its age) is Django's own.
"""

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone

from comparisons.queries import signed_in


class SessionStore(db.SessionStore):
    """Nothing is kept between requests: a session that was ended is over at once."""

    def _validate_session_key(self, key: str | None) -> bool:
        """Keys of ours are letters and digits; a NUL in a cookie could not even be looked up."""
        return bool(key) and key.isascii() and key.isalnum() and super()._validate_session_key(key)

    def _get_session_from_db(self) -> Session | None:
        found = signed_in.session_of(self.session_key, now=timezone.now())
        if found is None:
            self._session_key = None
        return found
