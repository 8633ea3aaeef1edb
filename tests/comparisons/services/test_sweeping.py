"""Rate windows and sessions that are over do not stay for ever; those that count are left alone."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from comparisons import tasks
from comparisons.models import RateWindow
from comparisons.services import limits, sweeping

pytestmark = pytest.mark.django_db


def test_what_is_over_goes_and_what_counts_stays():
    over, later = timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(hours=1)
    for name, at in (("over", over), ("still", later)):
        RateWindow.objects.create(key=name, count=3, ends_at=at)
        Session.objects.create(session_key=name, session_data="", expire_date=at)

    tasks.end_leases()

    assert list(RateWindow.objects.values_list("key", "count")) == [("still", 3)]
    assert list(Session.objects.values_list("session_key", flat=True)) == ["still"]
    assert limits.take("over", limit=1, seconds=60) == 0
    assert limits.take("still", limit=3, seconds=60) > 0


def test_no_more_go_at_once_than_are_bounded(monkeypatch):
    monkeypatch.setattr(sweeping, "AT_ONCE", 2)
    over = timezone.now() - timedelta(seconds=1)
    for number in range(3):
        RateWindow.objects.create(key=f"{number}", ends_at=over)
        Session.objects.create(session_key=f"{number}", session_data="", expire_date=over)

    found = [(sweeping.sweep_rate_windows(), sweeping.sweep_sessions()) for _ in range(3)]

    assert found == [(2, 2), (1, 1), (0, 0)]
