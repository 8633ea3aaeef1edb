"""The counts that staff decide by: choices stand beside what is accepted."""

import pytest
from django.urls import reverse

from comparisons.models import Assignment, Conversation
from comparisons.services import assignment_ends, chat, onboarding
from tests.comparisons.arriving import arrive, make_source, prolific
from tests.comparisons.making import make_account
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture
def administrator(client):
    client.force_login(make_account("administrator"))
    return client


def handed_in(conversation: Conversation, *, choices: int) -> Assignment:
    for number in range(choices):
        chosen(answered(said(conversation, f"Message {number}")))
    chat.end_conversation(conversation)
    assert conversation.assignment is not None
    assignment_ends.give_back(conversation.assignment)
    return conversation.assignment


def test_choices_stand_beside_what_is_accepted(administrator):
    campaign = live_campaign()
    handed_in(begun(campaign, agreed_person(campaign)), choices=3)
    source = make_source(campaign)
    arrived = arrive(source, prolific())
    onboarding.give_consent(arrived.crowdworker, campaign.instruction_versions.get())
    arrived.refresh_from_db()
    handed_in(chat.start_conversation(arrived), choices=2)

    invited = administrator.get(reverse("manage_pay", args=[campaign.slug])).content.decode()
    of_source = administrator.get(
        reverse("manage_arrival", args=[source.public_id])
    ).content.decode()

    assert '<td class="number">1 of 5</td><td class="number">3</td>' in invited
    assert '<td class="number">1 of 5</td><td class="number">2</td>' in of_source
