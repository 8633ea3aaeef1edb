"""Who is at work in a campaign now, and what its shares come to a day."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import Comparison, Showing, Turn
from comparisons.queries.pace import people_at_work, shares_of
from tests.comparisons.making import (
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

pytestmark = pytest.mark.django_db


def chose(campaign, *, ago: timedelta, platform: str = "local") -> Comparison:
    person = make_crowdworker(platform=platform)
    comparison = make_comparison(make_conversation(campaign=campaign, crowdworker=person))
    at = {"created_at": now() - ago}
    Comparison.objects.filter(pk=comparison.pk).update(**at)
    Turn.objects.filter(pk=comparison.turn_id).update(**at)
    return comparison


def test_people_at_work_are_those_of_the_campaign_in_the_last_minutes():
    campaign = make_campaign()
    chose(campaign, ago=timedelta(minutes=9))
    chose(campaign, ago=timedelta(minutes=11))
    chose(campaign, ago=timedelta(minutes=1), platform="simulated")
    chose(make_campaign(), ago=timedelta(minutes=1))

    assert people_at_work(campaign) == 1


def test_shares_say_pieces_and_pay_a_day_from_the_choices_of_seven_days(client):
    campaign = make_campaign(
        slug="busy", second_opinion_percent=50, opinion_pay="0.25", human_reply_percent=10
    )
    for days in (0, 1, 2, 3, 4, 5, 6, 8):
        chose(campaign, ago=timedelta(days=days))
    undone = chose(campaign, ago=timedelta(0))
    Comparison.objects.filter(pk=undone.pk).update(superseded_at=now())
    second = chose(campaign, ago=timedelta(0))
    Showing.objects.filter(pk=second.showing_id).update(purpose="second_opinion")
    campaign.refresh_from_db()
    said = {
        "second_opinion_percent": "50 % of 7 choices in 7 days: about 0.5 a day, 0.12 USD a day.",
        "human_reply_percent": "10 % of 7 choices in 7 days: about 0.1 a day.",
    }

    assert shares_of(campaign) == said
    client.force_login(make_account("administrator"))
    page = client.get(reverse("manage_campaign", args=["busy"])).content.decode()
    assert all(each in page for each in said.values())


def test_nothing_is_said_where_nothing_was_chosen_or_asked_for():
    campaign = make_campaign(second_opinion_percent=50)
    quiet = make_campaign()
    chose(quiet, ago=timedelta(0))

    assert set(shares_of(campaign).values()) == {""}
    assert set(shares_of(quiet).values()) == {""}
