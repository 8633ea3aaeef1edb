"""What stands around a stage: the panel follows the turn, the plan and the end; each page lists its own keys."""

import re

import pytest
from django.urls import reverse

from comparisons.services import chat, onboarding
from tests.comparisons.practising import with_practice
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


def test_each_page_lists_the_keys_that_work_on_it(client):
    campaign = live_campaign(second_opinion_percent=100)
    chosen(answered(said(begun(campaign))))
    conversation = begun(campaign)
    client.force_login(conversation.crowdworker.account)
    with_practice(practised := live_campaign(slug="practised"))
    onboarding.give_consent(conversation.crowdworker, practised.instruction_versions.get())

    talking = keys_listed(client, "conversation", conversation.public_id)
    comparing = keys_listed(client, "opinions")
    practising = keys_listed(client, "practice", "practised")

    assert talking[0] == "send"
    assert {"stop", "message", "undo"} < set(talking)
    assert comparing == [
        "both_bad", "reason", "skip", "flag", "show", "undo", "instructions", "pause", "keys",
    ]  # fmt: skip
    assert practising == ["both_bad", "reason", "show", "instructions", "keys"]


def keys_listed(client, name: str, *args) -> list[str]:
    page = client.get(reverse(name, args=args)).content.decode()
    dialog = page.partition('id="keys-dialog"')[2].partition("</dialog>")[0]
    fixed = ["send"] if "send your message" in dialog else []
    return fixed + re.findall(r'data-key-of="(\w+)"', dialog)
