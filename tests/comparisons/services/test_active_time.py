"""The time that people work: counted once and within reason; working keeps what they took."""

from datetime import timedelta

import pytest
from django.utils import timezone

from comparisons.models import Assignment
from comparisons.services import onboarding, turns
from comparisons.services.active_time import MOST_ACTIVE_MILLISECONDS
from tests.comparisons.talking import agreed_person, begun, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_working_keeps_the_lease_and_counts_time_once_within_reason():
    campaign = live_campaign(lease_minutes=10)
    conversation = begun(campaign)
    Assignment.objects.update(
        lease_until=timezone.now() + timedelta(seconds=5),
        counted_since=timezone.now() - timedelta(hours=1),
    )

    said(conversation, active_milliseconds=10**12)

    assignment = Assignment.objects.get()
    assert assignment.active_milliseconds == MOST_ACTIVE_MILLISECONDS
    assert assignment.lease_until > timezone.now() + timedelta(minutes=9)


def test_no_more_time_is_counted_than_passed_whatever_the_page_says():
    conversation = begun(live_campaign(pay_amount="20.00", pay_per="hour"))
    since = timezone.now() - timedelta(minutes=1)
    Assignment.objects.update(counted_since=since)

    for number in range(10):
        turns.skip_turn(said(conversation, f"Message {number}", active_milliseconds=2**40))
    passed = (timezone.now() - since) / timedelta(milliseconds=1)

    conversation.refresh_from_db()
    counted = Assignment.objects.get().active_milliseconds
    assert 60_000 <= counted <= passed + 1
    assert conversation.active_milliseconds == counted


def test_time_that_the_page_tells_a_step_late_is_counted():
    conversation = begun(live_campaign())
    Assignment.objects.update(counted_since=timezone.now() - timedelta(minutes=3))
    turns.skip_turn(said(conversation, "One", active_milliseconds=1000))

    said(conversation, "Two", active_milliseconds=150_000)

    assert Assignment.objects.get().active_milliseconds == 151_000


def test_work_from_before_such_counting_counts_from_its_beginning():
    conversation = begun(live_campaign())
    begun_at = timezone.now() - timedelta(minutes=3)
    Assignment.objects.update(counted_since=None, created_at=begun_at)

    said(conversation, active_milliseconds=120_000)

    assert Assignment.objects.get().active_milliseconds == 120_000


@pytest.fixture
def two_at_once():
    """Conversations of one person in two campaigns, both begun ten minutes ago."""
    one, two = live_campaign(), live_campaign(names=("three", "four"))
    person = agreed_person(one)
    onboarding.give_consent(person, two.instruction_versions.get())
    conversations = begun(one, person), begun(two, person)
    Assignment.objects.update(counted_since=timezone.now() - timedelta(minutes=10))
    return conversations


@pytest.mark.parametrize("state", ["work", "submitted"])
def test_an_hour_in_two_campaigns_at_once_is_one_hour(two_at_once, state):
    one, two = two_at_once
    turns.skip_turn(said(one, active_milliseconds=2**40))
    Assignment.objects.filter(pk=one.assignment_id).update(
        state=state, submitted_at=timezone.now() if state == "submitted" else None
    )

    said(two, active_milliseconds=2**40)

    counted = sum(each.active_milliseconds for each in Assignment.objects.all())
    assert 600_000 <= counted < 660_000


def test_work_now_here_and_now_there_counts_whole(two_at_once):
    for number in range(3):
        for conversation in two_at_once:
            turns.skip_turn(said(conversation, f"Word {number}", active_milliseconds=90_000))

    assert {each.active_milliseconds for each in Assignment.objects.all()} == {270_000}


def test_work_handed_in_before_this_began_takes_nothing_from_it(two_at_once):
    one, two = two_at_once
    Assignment.objects.filter(pk=one.assignment_id).update(
        state="submitted", active_milliseconds=600_000,
        submitted_at=timezone.now() - timedelta(minutes=6),
    )  # fmt: skip
    Assignment.objects.filter(pk=two.assignment_id).update(
        counted_since=timezone.now() - timedelta(minutes=5)
    )

    said(two, active_milliseconds=240_000)

    assert Assignment.objects.get(pk=two.assignment_id).active_milliseconds == 240_000
