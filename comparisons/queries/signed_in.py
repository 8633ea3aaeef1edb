"""Who is signed in: the session and its account, asked for at every request with SQL that is made once.

Reads only; knows Django's sessions and accounts, nothing of what they may do.
"""

from datetime import datetime

from django.contrib.sessions.models import Session

from comparisons.models import Account
from comparisons.queries.prepared import Prepared

_SESSION: Prepared[Session] = Prepared(
    lambda *, key, now: Session.objects.filter(session_key=key, expire_date__gt=now)
)
_ACCOUNT: Prepared[Account] = Prepared(
    lambda *, pk: Account.objects.filter(pk=pk).select_related("crowdworker")
)


def session_of(key: str, *, now: datetime) -> Session | None:
    """The stored session, unless its time is over."""
    found = _SESSION.objects(key=key, now=now)
    return found[0] if found else None


def account_of(pk: int) -> Account | None:
    """The account and its profile as they are stored now: whoever was shut out a moment ago is shut out."""
    found = _ACCOUNT.objects(pk=pk)
    return found[0] if found else None
