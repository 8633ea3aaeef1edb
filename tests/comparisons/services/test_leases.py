"""Leases are the database's: a web host whose clock is wrong takes nothing too long and nothing away."""

import uuid
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from comparisons.models import Assignment, Showing, WantedReply
from comparisons.services import assignment_ends, judging, onboarding, opinions, replies
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

MINUTE = timedelta(minutes=1)


@pytest.fixture
def campaign():
    campaign = live_campaign(second_opinion_percent=100, human_reply_percent=100, lease_minutes=120)
    chosen(answered(said(begun(campaign))))
    return campaign


@pytest.fixture(params=[timedelta(days=1), timedelta(days=-1)], ids=["ahead", "behind"])
def wrong_clock(request, monkeypatch, campaign):
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + request.param)


def is_for(rows, lease: timedelta) -> bool:
    """Whether the only row's lease lasts this long by the database's clock."""
    late, early = Now() + lease, Now() + lease - MINUTE
    return rows.filter(lease_until__lte=late, lease_until__gte=early).count() == 1


@pytest.mark.usefixtures("wrong_clock")
def test_work_is_kept_as_long_as_it_says(campaign):
    person = agreed_person(campaign)
    conversation = begun(campaign, person)
    mine = Assignment.objects.filter(crowdworker=person)
    lease = timedelta(minutes=campaign.lease_minutes)
    assert is_for(mine, lease)
    mine.update(lease_until=F("lease_until") - 60 * MINUTE)

    said(conversation)

    assert is_for(mine, lease)
    assert onboarding.open_assignment_of(person, campaign) == mine.get()
    mine.update(lease_until=Now() - MINUTE)
    assert onboarding.open_assignment_of(person, campaign) is None
    assert assignment_ends.give_back_overdue() == 0


@pytest.mark.usefixtures("wrong_clock")
def test_a_second_opinion_is_held_as_long_as_it_says(campaign):
    person = agreed_person(campaign)
    item = opinions.take(person)
    mine = Showing.objects.filter(pk=item.pk)
    assert is_for(mine, opinions.LEASE)
    assert opinions.take(person) == item
    mine.update(lease_until=Now() + MINUTE)
    assert opinions.take(person) == item
    assert is_for(mine, opinions.LEASE)

    texts = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
    choice = {"side": "A", "strength": 3, "text_sha256": texts, "choice_key": uuid.uuid4()}
    mine.update(lease_until=Now() - MINUTE)
    with pytest.raises(judging.LeaseOver):
        judging.record_choice(item, **choice)
    mine.update(lease_until=Now() + MINUTE)
    assert judging.record_choice(item, **choice).showing == item


@pytest.mark.usefixtures("wrong_clock")
def test_a_prompt_is_held_as_long_as_it_says(campaign):
    person = agreed_person(campaign)
    wanted = replies.take(person)
    mine = WantedReply.objects.filter(pk=wanted.pk)
    assert is_for(mine, replies.LEASE)
    mine.update(lease_until=Now() + MINUTE)

    assert replies.take(person) == wanted
    assert is_for(mine, replies.LEASE)
    mine.update(lease_until=Now() - MINUTE)
    assert replies.held(person) is None
