"""Conversations in every state, as rows: what a page then shows is for whoever opens it.

Knows services and rows, nothing of browsers.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from comparisons.models import Campaign, Conversation, Crowdworker, Response, Turn
from comparisons.services import chat, turns, wellbeing
from comparisons.services.streaming import TurnStream
from tests.comparisons.making import make_crowdworker
from tests.comparisons.talking import (
    agreed_person,
    answered,
    begun,
    chosen,
    hash_of,
    live_campaign,
    said,
)

MESSAGE = "My landlord has not fixed the heating for two weeks. Help me write to her."
FIRST = (
    "You could soften the opening and keep the request firm:\n\n"
    "> Dear Ms Okafor, the heating in flat 4 has been out since 3 March.\n\n"
    "1. Say what happened and when.\n2. Ask for a date.\n3. Keep a copy.\n\n"
    "A short letter is answered sooner than a long one, and a date is hard to pass over."
)
SECOND = (
    "Here is a draft:\n\n“Dear Ms Okafor, the heating has been broken for two weeks. I would be "
    "grateful if it could be repaired by Friday. I can be at home at any time that suits you.”\n\n"
    "| day | what to do |\n|---|---|\n| today | send it |\n| Friday | call the council |"
)


@dataclass(kw_only=True)
class Scene:
    """One person at one conversation."""

    campaign: Campaign
    person: Crowdworker
    conversation: Conversation | None = None

    @property
    def path(self) -> str:
        """Where the page is."""
        return f"/conversations/{self.conversation.public_id}/" if self.conversation else ""


def scene(*, objective: str = "helpful", **values) -> Scene:
    """An open conversation of a new person in a new campaign."""
    title = "Red team" if objective == "harmless" else "Talk to the assistant"
    # unlike names, so that every campaign's deployments are its own
    names = (f"one-{uuid.uuid4().hex[:6]}", f"two-{uuid.uuid4().hex[:6]}")
    campaign = live_campaign(objective=objective, title=title, names=names, **values)
    person = agreed_person(campaign)
    return Scene(campaign=campaign, person=person, conversation=begun(campaign, person))


def _asked(text: str = MESSAGE, **values) -> tuple[Scene, Turn]:
    at = scene(**values)
    return at, said(at.conversation, text)


def _failed(turn: Turn, side: str, *, tries: int = 0) -> None:
    showing = turns.author_showing(turn)
    bad = showing.side_a if side == "A" else showing.side_b
    good = showing.side_b if side == "A" else showing.side_a
    Response.objects.filter(pk=bad.pk).update(state="failed", failure="no answer", tries=tries)
    Response.objects.filter(pk=good.pk).update(
        state="ready", text=FIRST, text_sha256=hash_of(FIRST), finish_reason="stop"
    )
    Turn.objects.filter(pk=turn.pk).update(state="failed", lease_until=None)


def empty() -> Scene:
    return scene()


def waiting() -> Scene:
    return _asked()[0]


def writing() -> Scene:
    at, turn = _asked()
    until = timezone.now() + timedelta(hours=1)
    Turn.objects.filter(pk=turn.pk).update(attempt=1, lease_until=until)
    stream = TurnStream(turn.public_id, attempt=1)
    stream.begin()
    for side, text in (("A", FIRST), ("B", SECOND[:80])):
        stream.publish("delta", side=side, text=text)
    return at


def held() -> Scene:
    at, turn = _asked()
    Turn.objects.filter(pk=turn.pk).update(is_held_back=True)
    return at


def one_failed() -> Scene:
    at, turn = _asked()
    _failed(turn, "B")
    return at


def still_failed() -> Scene:
    at, turn = _asked()
    _failed(turn, "B", tries=2)
    return at


def ready() -> Scene:
    at = scene()
    chosen(answered(said(at.conversation, "Can you help me with a letter?"), a=FIRST, b=SECOND))
    answered(said(at.conversation, MESSAGE), a=FIRST, b=SECOND)
    return at


def long_ready() -> Scene:
    at, turn = _asked()
    answered(turn, a="\n\n".join([FIRST] * 8), b="\n\n".join([SECOND] * 6))
    return at


def stopped() -> Scene:
    at, turn = _asked()
    answered(turn, a=FIRST, b=SECOND[:60])
    Response.objects.filter(turn=turn).update(finish_reason="stopped")
    return at


def chosen_one() -> Scene:
    at = scene()
    chosen(answered(said(at.conversation), a=FIRST, b=SECOND), side="B", strength=2)
    return at


def skipped() -> Scene:
    at, turn = _asked()
    answered(turn, a=FIRST, b=SECOND)
    turns.skip_turn(turn)
    return at


def ended() -> Scene:
    at = chosen_one()
    chat.end_conversation(at.conversation, rating=3)
    return at


def red_start() -> Scene:
    at = scene(objective="harmless")
    Conversation.objects.filter(pk=at.conversation.pk).update(intent="")
    return at


def red_covered() -> Scene:
    at = scene(objective="harmless")
    answered(said(at.conversation, "Insult my colleague."), a=FIRST, b=SECOND)
    return at


def red_break() -> Scene:
    at = scene(objective="harmless")
    while not wellbeing.should_suggest_break(at.person):
        chosen(answered(said(at.conversation, "Again."), a=FIRST, b=SECOND))
    return at


def opinion() -> Scene:
    """A second opinion waits for this person."""
    at = scene(second_opinion_percent=100)
    chosen(answered(said(at.conversation, MESSAGE), a=FIRST, b=SECOND))
    return Scene(campaign=at.campaign, person=agreed_person(at.campaign))


def nothing_to_compare() -> Scene:
    """No second opinion waits."""
    at = scene()
    return Scene(campaign=at.campaign, person=make_crowdworker())
