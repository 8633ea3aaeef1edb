"""The campaign's page: what is done, what comes next and what it pays, for this person."""

from decimal import Decimal

import pytest
from django.urls import reverse

from comparisons.models import Assignment
from comparisons.services import chat
from tests.comparisons.arriving import arrive, make_source, prolific
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def seen_by(client, person, campaign) -> str:
    """The page's text, each run of white space as one space."""
    client.force_login(person.account)
    page = client.get(reverse("campaign_home", args=[campaign.slug]))
    return " ".join(page.content.decode().split())


def test_after_the_last_conversation_the_page_says_what_became_of_it(client):
    campaign = live_campaign(conversations_per_assignment=1)
    person = agreed_person(campaign)
    before = seen_by(client, person, campaign)
    conversation = begun(campaign, person)
    chosen(answered(said(conversation, "Hello")))
    chat.end_conversation(conversation, rating=3)

    after = seen_by(client, person, campaign)

    sentence = "You finished your conversation. It is checked within 2 days."
    assert Assignment.objects.get().state == "submitted"
    assert sentence not in before
    assert f'{sentence} <a href="{reverse("my_work")}">My work</a>' in after
    assert "You may start again below" in after


def test_whoever_came_from_elsewhere_reads_what_that_source_pays(client):
    campaign = live_campaign(pay_amount=Decimal("20.00"), pay_currency="USD")
    source = make_source(campaign, pay_amount=Decimal("7.50"), pay_currency="GBP")
    assignment = arrive(source, prolific())

    page = seen_by(client, assignment.crowdworker, campaign)

    assert "7.50 GBP per 5 conversations" in page
    assert "20.00" not in page


def test_without_pay_no_lonely_dot_stands_before_the_lease(client):
    campaign = live_campaign(pay_amount=Decimal(0))
    person = agreed_person(campaign)
    begun(campaign, person)

    page = seen_by(client, person, campaign)

    assert '<p class="muted"> kept for you until' in page
    assert "data-pay" not in page
