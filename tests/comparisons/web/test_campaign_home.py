"""The campaign's page: what is done, what comes next and what it pays, for this person."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from comparisons.models import Assignment
from comparisons.queries import pay
from comparisons.services import assignment_ends, chat, turns
from comparisons.services.campaigns import publish_instructions
from tests.comparisons.arriving import arrive, make_source, prolific
from tests.comparisons.making import make_account
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


def test_ending_without_a_choice_says_that_it_is_not_counted(client):
    campaign = live_campaign(pay_amount=Decimal("20.00"))
    person = agreed_person(campaign)
    client.force_login(person.account)
    conversation = begun(campaign, person)
    turns.skip_turn(said(conversation))
    url = reverse("end_conversation", args=[conversation.public_id])

    ended = client.post(url, {"then": "next"}, follow=True)
    listed = client.get(reverse("my_conversations")).content.decode()
    after = seen_by(client, person, campaign)

    words = "Not counted: no choice was made"
    assert f"{words}. Another conversation takes its place." in ended.content.decode()
    assert "Conversation 1 of 5" in " ".join(ended.content.decode().split())
    assert f'<td role="cell">{words}</td>' in listed
    assert 'value="0"' in after
    assert pay.pay_rows(campaign) == []


def test_a_conversation_without_a_message_keeps_no_text(client):
    campaign = live_campaign()
    person = agreed_person(campaign)
    client.force_login(person.account)
    conversation = begun(campaign, person)

    before = seen_by(client, person, campaign)
    said(conversation)
    after = seen_by(client, person, campaign)

    assert "your text is kept" not in before
    assert "In work" in before
    assert "turn 2, your text is kept" in after


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


IDLE = "was given back after some time without activity"


@pytest.mark.parametrize("is_overdue", [True, False], ids=["lease over", "left"])
def test_time_without_activity_is_named_only_where_it_was_the_reason(client, is_overdue):
    campaign = live_campaign()
    person = agreed_person(campaign)
    assignment = begun(campaign, person).assignment
    if is_overdue:
        Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    else:
        assignment_ends.give_back(assignment, reason="left")

    assert (IDLE in seen_by(client, person, campaign)) == is_overdue


def test_times_say_in_which_zone_they_are_and_leave_the_clock_to_the_browser(client):
    campaign = live_campaign()
    person = agreed_person(campaign)
    until = datetime(2031, 5, 6, 14, 0, tzinfo=UTC)
    begun(campaign, person)
    Assignment.objects.update(lease_until=until)

    page = seen_by(client, person, campaign)

    moment = '<time datetime="2031-05-06T14:00:00+00:00" data-local="clock">14:00 UTC</time>'
    assert f"kept for you until {moment}" in page


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_unpaid_work_speaks_of_no_pay_in_any_language(client, language):
    campaign = live_campaign()
    person = agreed_person(campaign)
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = language

    assert "data-pay" not in seen_by(client, person, campaign)


def test_a_wording_without_a_heading_opens_for_whoever_accepted_an_earlier_one(client):
    campaign = live_campaign()
    client.force_login(agreed_person(campaign).account)
    text, editor = {"summary": "x", "body": "Plain.", "consent": "x"}, make_account("administrator")
    publish_instructions(campaign, **text, based_on=1, actor=editor)

    page = client.get(reverse("instructions", args=[campaign.slug])).content.decode()

    assert "New since you last read:" in page
    assert "The text without a heading" in page
