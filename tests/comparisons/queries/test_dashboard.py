"""The overview: who is at work now, and what counts as the crowd's."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import Comparison, Turn
from comparisons.queries.dashboard import (
    campaigns_today,
    comparisons_by_day,
    concerns,
    happening_now,
    totals,
)
from comparisons.queries.quality import agreement_rows, standing_choices
from modelserving.models import SlotDeployment
from tests.comparisons.making import (
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
    make_deployment,
)

pytestmark = pytest.mark.django_db


def serves(campaign) -> None:
    """Its slot has something to draw from."""
    SlotDeployment.objects.create(
        slot=campaign.slot, deployment=make_deployment(), role="serving", traffic=100
    )


def worked(*, chose_minutes_ago: int, wrote_minutes_ago: int) -> None:
    """Somebody who wrote two messages and chose twice."""
    conversation = make_conversation()
    for message in ("One", "Two"):
        comparison = make_comparison(conversation, message=message)
        at = {"created_at": now() - timedelta(minutes=chose_minutes_ago)}
        Comparison.objects.filter(pk=comparison.pk).update(**at)
        at = {"created_at": now() - timedelta(minutes=wrote_minutes_ago)}
        Turn.objects.filter(pk=comparison.turn_id).update(**at)


def test_people_at_work_chose_or_wrote_in_the_last_minutes():
    worked(chose_minutes_ago=1, wrote_minutes_ago=1)
    worked(chose_minutes_ago=60, wrote_minutes_ago=1)
    worked(chose_minutes_ago=1, wrote_minutes_ago=60)
    worked(chose_minutes_ago=60, wrote_minutes_ago=60)

    assert happening_now().people == 3


def test_counting_people_never_multiplies_their_choices_by_their_turns():
    with CaptureQueriesContext(connection) as asked:
        happening_now()

    of_people = [each["sql"] for each in asked if "crowdworker" in each["sql"]]
    assert len(of_people) == 1
    assert of_people[0].count("EXISTS") == 2
    assert "OUTER JOIN" not in of_people[0]


def test_simulated_people_are_not_counted_as_the_crowd():
    campaign = make_campaign()
    one, two = (make_crowdworker(platform="simulated") for _ in range(2))
    conversation = make_conversation(campaign=campaign, crowdworker=one, origin="simulated")
    first = make_comparison(conversation, origin="simulated")
    Comparison.objects.create(
        showing=first.showing, turn=first.turn, crowdworker=two, picked=first.picked,
        other=first.other, side="A", strength=3, question=first.question,
        objective=first.objective, origin="simulated",
    )  # fmt: skip
    real = make_comparison(make_conversation(campaign=campaign))

    assert list(standing_choices()) == [real]
    assert {row.estimate.n for row in agreement_rows()} == {0}
    assert [row.total for row in campaigns_today()] == [1]
    assert sum(day.total for day in comparisons_by_day()) == 1
    assert happening_now().people == 1
    assert totals() == {"simulated": 2, "crowd": 1}


@pytest.mark.parametrize(("wanted", "is_told"), [(None, False), (3, False), (2, True), (1, True)])
def test_staff_are_told_when_the_comparisons_wanted_are_made(client, wanted, is_told):
    campaign = make_campaign(slug="help", comparisons_wanted=wanted)
    serves(campaign)
    conversation = make_conversation(campaign=campaign)
    for message in ("One", "Two"):
        make_comparison(conversation, message=message)
    make_comparison(conversation, message="Three", set_aside_at=now())
    client.force_login(make_account("administrator"))

    page = client.get(reverse("manage_campaign", args=["help"])).content.decode()

    told = f"{campaign.title} has 2 of {wanted} comparisons wanted: pause or end it"
    assert [each.text for each in concerns()] == [told] * is_told
    assert (f"2 of {wanted} wanted" if wanted else "2, no end") in page
