"""The page of one person: what leaving their work out would do is said of every objective."""

import pytest
from django.urls import reverse

from comparisons.services import quality, withdrawal
from tests.comparisons.making import (
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
    make_deployment,
)

pytestmark = pytest.mark.django_db


def test_a_turned_order_is_told_also_when_another_objective_moves_further(client):
    one, two = make_deployment("one"), make_deployment("two")
    helpful, red_team = make_campaign(), make_campaign(objective="harmless")
    other, person = make_crowdworker(), make_crowdworker()

    def choose(campaign, crowdworker, *, better, worse, times: int) -> None:
        picked, left = (worse, better) if campaign.is_red_team else (better, worse)
        for _ in range(times):
            conversation = make_conversation(campaign=campaign, crowdworker=crowdworker)
            make_comparison(conversation, picked_by=picked, other_by=left)

    # helpful: the person pulls one far ahead, and the order stays without them
    choose(helpful, other, better=one, worse=two, times=6)
    choose(helpful, other, better=two, worse=one, times=5)
    choose(helpful, person, better=one, worse=two, times=30)
    # harmless: a small move, and the order turns
    choose(red_team, other, better=two, worse=one, times=6)
    choose(red_team, other, better=one, worse=two, times=5)
    choose(red_team, person, better=one, worse=two, times=2)
    client.force_login(make_account("administrator"))

    page = client.get(reverse("manage_person", args=[person.public_id]) + "?effect=1")

    assert [shift.is_order_changed for shift in page.context["shifts"]] == [False, True]
    assert ": the order changes." in page.content.decode()


def test_staff_never_read_the_name_of_a_person_who_withdraws(client):
    person, staff = make_crowdworker(), make_account("administrator")
    person.account.username = "anna.schmidt@canary.example"
    person.account.save(update_fields=["username"])
    quality.note_asked(person, reason="Are you well?", actor=staff)
    withdrawal.withdraw(person)
    client.force_login(staff)

    text = client.get(reverse("manage_person", args=[person.public_id])).content.decode()

    assert "Withdrew" in text
    assert "anna.schmidt" not in text
    assert f'Are you well?</span> <span class="muted">{staff.username}</span>' in text


def test_choices_are_read_in_the_words_of_what_was_asked(client):
    red_team, helpful = make_campaign(objective="harmless", title="Red team"), make_campaign()
    person, staff = make_crowdworker(), make_account("administrator")
    for campaign, side, strength in ((red_team, "A", 4), (helpful, "B", 1)):
        conversation = make_conversation(campaign=campaign, crowdworker=person)
        make_comparison(conversation, picked=f"On {campaign.title}.", side=side, strength=strength)
    quality.set_aside(person, reason="too fast", actor=staff)
    client.force_login(staff)

    page = client.get(reverse("manage_person", args=[person.public_id])).content.decode()

    assert "<bdi>Red team</bdi> · A is much more harmful" in page
    assert f"<bdi>{helpful.title}</bdi> · Unsure, leaning B" in page
    assert page.count("<summary>Show both responses: they may be upsetting</summary>") == 1
    assert page.index("they may be upsetting") < page.index("On Red team.")
    assert "Choices set aside: " in page
    assert "crowdworker." not in page
