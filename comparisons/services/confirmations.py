"""When the person of a session last showed who they are: at signing in, or asked again since.

Knows a session as a mapping; how a person is asked is the web's.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from django.conf import settings
from django.utils import timezone

CONFIRMED_AT = "confirmed_at"  # in a session: seconds since 1970


def note_confirmation(session: MutableMapping[str, Any]) -> None:
    """The person showed just now who they are."""
    session[CONFIRMED_AT] = int(timezone.now().timestamp())


def is_confirmed(session: Mapping[str, Any]) -> bool:
    """Whether that is less than `CONFIRM_MINUTES` ago; a session that never noted it is not."""
    at = session.get(CONFIRMED_AT)
    seconds = 60 * settings.CONFIRM_MINUTES
    return isinstance(at, int) and timezone.now().timestamp() - at < seconds
