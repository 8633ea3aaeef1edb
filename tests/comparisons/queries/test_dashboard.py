"""The overview: who is at work now, and what counts as the crowd's."""

import re

import pytest
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import Assignment, Comparison
from comparisons.queries.dashboard import (
    campaigns_today,
    comparisons_by_day,
    concerns,
    hours,
    totals,
)
from comparisons.queries.happening import happening_now
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


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (0.0, "less than 1 min"), (59 / 3600, "less than 1 min"), (119 / 3600, "1 min"),
        (0.999, "59 min"), (1.9, "1 h"), (47.9, "47 h"), (71.9, "2 days"),
    ],
)  # fmt: skip
def test_an_age_is_what_is_over(age, text):
    assert hours(age) == text


def test_the_days_figures_have_their_n_and_interval(client):
    campaign = make_campaign(title="Everyday help")
    held = Assignment.objects.create(
        crowdworker=make_crowdworker(), campaign=campaign,
        pay_rule={"amount": "20.00", "currency": "USD", "per": "assignment"},
    )  # fmt: skip
    conversation = make_conversation(
        crowdworker=held.crowdworker, campaign=campaign, assignment=held,
        state="finished", finished_at=now(), active_milliseconds=600_000,
    )  # fmt: skip
    for strength in (1, 2, 4):
        make_comparison(conversation, strength=strength, active_milliseconds=600_000)
    make_campaign(title="Nothing yet")
    client.force_login(make_account("administrator"))

    cells = rows_of(client.get(reverse("manage_dashboard")).content.decode())

    assert cells["Everyday help"][2:7] == ["3", "0.5", "1.33 USD, n 3", "67 % of 3 (21–94)", "3"]
    assert cells["Nothing yet"][2:7] == ["0", "–", "–", "–", "0"]


def test_an_empty_installation_has_a_dashboard(client):
    client.force_login(make_account("administrator"))

    page = client.get(reverse("manage_dashboard")).content.decode()

    assert "No campaign yet." in page
    assert re.findall(r'class="value">([^<]*)<', page) == ["0", "0", "0", "0", "–", "0"]
    assert "0 late" in page


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of each campaign's row, as text."""
    today = page[page.index('id="today"') : page.index('id="now"')]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in today.split("<tr>")[2:]]
    texts = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in rows]
    return {row[0]: row for row in texts}
