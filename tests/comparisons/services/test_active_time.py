"""The time that people work: counted once and within reason; working keeps what they took."""

from datetime import timedelta

import pytest
from django.utils import timezone

from comparisons.models import Assignment
from comparisons.services.active_time import MOST_ACTIVE_MILLISECONDS
from tests.comparisons.talking import begun, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_working_keeps_the_lease_and_counts_time_once_within_reason():
    campaign = live_campaign(lease_minutes=10)
    conversation = begun(campaign)
    Assignment.objects.update(lease_until=timezone.now() + timedelta(seconds=5))

    said(conversation, active_milliseconds=10**12)

    assignment = Assignment.objects.get()
    assert assignment.active_milliseconds == MOST_ACTIVE_MILLISECONDS
    assert assignment.lease_until > timezone.now() + timedelta(minutes=9)
