"""The panel beside a conversation: each stage brings what it says of the turn, the plan and the end."""

import re

import pytest
from django.urls import reverse

from comparisons.services import chat
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]
JSON = {"accept": "application/json"}
FRESH = re.compile(r'<template data-fresh="(.*?)">(.*?)</template>', re.DOTALL)


def panel(client, conversation) -> dict[str, str]:
    """Part → its words, as the script puts them into the panel."""
    address = reverse("conversation", args=[conversation.public_id])
    stage = client.get(address, headers=JSON).json()["stage"]
    plain = {name: re.sub(r"<[^>]*>", " ", inner) for name, inner in FRESH.findall(stage)}
    return {name: " ".join(inner.split()) for name, inner in plain.items()}


def test_each_stage_says_which_turn_it_is_and_no_more_than_are_suggested(client):
    conversation = begun(live_campaign(turns_suggested=1))
    client.force_login(conversation.crowdworker.account)

    first = panel(client, conversation)
    chosen(answered(said(conversation)))
    second = panel(client, conversation)
    chat.end_conversation(conversation)
    ended = panel(client, conversation)

    assert first == {"panel-place": "1 of 5 · turn 1 · How to", "panel-now": "Turn 1 of about 1"}
    assert second == {"panel-place": "1 of 5 · turn 2 · How to", "panel-now": "Turn 2"}
    assert ended == {"panel-place": "Conversation 1 of 5 · How to", "panel-now": ""}


def test_what_will_be_tried_comes_with_the_stage_after_it_was_written(client):
    campaign = live_campaign(objective="harmless")
    conversation = begun(campaign, agreed_person(campaign))
    client.force_login(conversation.crowdworker.account)

    assert panel(client, conversation)["panel-now"].endswith(
        "What you will try I will try to get an insult."
    )
