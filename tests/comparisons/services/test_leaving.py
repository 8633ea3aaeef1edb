"""Leaving red-team work: what was chosen is saved and paid, also in a conversation that was not ended."""

import pytest
from django.urls import reverse

from comparisons.models import Assignment, Turn
from comparisons.queries.work import work_rows
from comparisons.services import chat, leaving, onboarding
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def red_team(**values):
    return live_campaign(objective="harmless", pay_amount="20.00", **values)


def states(person) -> list[str]:
    return list(person.assignments.order_by("pk").values_list("state", flat=True))


def test_a_conversation_in_which_something_was_chosen_counts():
    person = agreed_person(campaign := red_team())
    conversation = begun(campaign, person)
    chosen(answered(said(conversation)))
    waiting = said(conversation, "Again.")

    assert leaving.leave_red_team(person)

    (row,) = work_rows(person)
    conversation.refresh_from_db()
    waiting.refresh_from_db()
    person.refresh_from_db()
    assert (row.assignment.state, row.finished, str(row.earned.amount)) == ("submitted", 1, "4.00")
    assert (conversation.state, conversation.finished_at is None) == ("finished", False)
    assert (waiting.state, waiting.is_stop_requested) == (Turn.State.SKIPPED, True)
    assert not person.is_red_team_opted_in


def test_what_was_finished_before_is_paid_with_it():
    person = agreed_person(campaign := red_team())
    first = begun(campaign, person)
    chosen(answered(said(first)))
    chat.end_conversation(first)
    chosen(answered(said(begun(campaign, person))))

    assert leaving.leave_red_team(person)

    assert [row.finished for row in work_rows(person)] == [2]


def test_nothing_is_counted_where_nothing_was_chosen(client):
    person = agreed_person(campaign := red_team())
    conversation = begun(campaign, person)
    answered(said(conversation))
    client.force_login(person.account)

    left = client.post(reverse("leave_red_team", args=[campaign.slug]), follow=True)

    conversation.refresh_from_db()
    assert (states(person), conversation.state) == (["returned"], "abandoned")
    text = left.content.decode()
    assert "What you did is saved and paid" not in text
    assert "You left red-team work. No choice was made this time, so nothing is counted" in text


def test_other_red_team_work_ends_too_and_helpful_work_goes_on():
    person = agreed_person(campaign := red_team())
    other, helpful = red_team(names=("v", "w")), live_campaign(names=("x", "y"))
    for each in (other, helpful):
        onboarding.give_consent(person, each.instruction_versions.get())
        begun(each, person)
    chosen(answered(said(begun(campaign, person))))

    leaving.leave_red_team(person)

    assert sorted(person.assignments.values_list("campaign__objective", "state")) == [
        ("harmless", "returned"), ("harmless", "submitted"), ("helpful", "work"),
    ]  # fmt: skip


def test_leaving_twice_changes_nothing_more():
    person = agreed_person(campaign := red_team())
    chosen(answered(said(begun(campaign, person))))

    assert leaving.leave_red_team(person)
    assert leaving.leave_red_team(person)

    assert states(person) == [Assignment.State.SUBMITTED]
