"""Count tries within a window, atomically in the database, so that a race cannot pass the limit.

Knows keys and numbers; does not know addresses, accounts or pages.
"""

from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from comparisons.models import RateWindow


def take(key: str, *, limit: int, seconds: int) -> int:
    """Count one try of `key`. 0 when it is within the limit, otherwise the seconds to wait."""
    now = timezone.now()
    ends_at = now + timedelta(seconds=seconds)
    window = RateWindow.objects.filter(key=key)
    window.filter(ends_at__lte=now).update(count=0, ends_at=ends_at)
    RateWindow.objects.get_or_create(key=key, defaults={"ends_at": ends_at})
    if window.filter(count__lt=limit).update(count=F("count") + 1) == 1:
        return 0
    left = window.values_list("ends_at", flat=True).first()
    return max(1, round((left - now).total_seconds())) if left else 1


def note(key: str, *, seconds: int) -> None:
    """Keep `key` for so long from now, counting nothing."""
    ends_at = timezone.now() + timedelta(seconds=seconds)
    RateWindow.objects.update_or_create(key=key, defaults={"ends_at": ends_at})


def is_noted(key: str) -> bool:
    """Whether `key` was noted, and its time is not over."""
    return RateWindow.objects.filter(key=key, ends_at__gt=timezone.now()).exists()


def forget(key: str) -> None:
    """Start `key` afresh, for instance after a sign-in that worked."""
    RateWindow.objects.filter(key=key).delete()
