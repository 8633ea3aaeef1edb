"""Delete what only counted for a while: rate windows and sessions that are over.

A bounded number at each call, so that no transaction grows long; knows nothing of who tried or signed in.
"""

from django.contrib.sessions.models import Session
from django.utils import timezone

from comparisons.models import RateWindow

AT_ONCE = 1000


def sweep_rate_windows() -> int:
    """Delete windows that ended; the number of them."""
    now = timezone.now()
    ended = RateWindow.objects.filter(ends_at__lt=now)
    keys = list(ended.order_by("ends_at").values_list("pk", flat=True)[:AT_ONCE])
    return ended.filter(pk__in=keys).delete()[0]  # but not one that began anew just now


def sweep_sessions() -> int:
    """Delete sessions that ran out; the number of them."""
    over = Session.objects.filter(expire_date__lt=timezone.now())
    keys = list(over.order_by("expire_date").values_list("pk", flat=True)[:AT_ONCE])
    return over.filter(pk__in=keys).delete()[0]
