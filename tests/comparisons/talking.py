"""A live campaign, a person who agreed, and answers without a model: what tests of the chat stand on.

The bell of the generation queue is a small real one that notes who rang.
"""

import uuid
from dataclasses import dataclass, field
from hashlib import sha256

from comparisons.models import (
    Campaign,
    Conversation,
    Crowdworker,
    InstructionVersion,
    Response,
    Turn,
)
from comparisons.services import chat, judging, onboarding
from comparisons.services.turns import author_showing
from modelserving.models import SlotDeployment
from tests.comparisons.making import make_campaign, make_crowdworker, make_deployment


@dataclass
class Bell:
    """Stands in for the task's queue: every ring is kept, nothing is generated."""

    rings: list[int] = field(default_factory=list)

    def apply_async(self, *, kwargs: dict[str, int], **_options: object) -> None:
        self.rings.append(kwargs["turn_id"])


def live_campaign(
    *, objective: str = "helpful", names=("canary-one", "canary-two"), **values
) -> Campaign:
    """A campaign whose slot has two deployments taking traffic, and published instructions."""
    campaign = make_campaign(objective=objective, **values)
    for number, name in enumerate(names):
        SlotDeployment.objects.create(
            slot=campaign.slot, deployment=make_deployment(f"{name}-{campaign.pk}"),
            role="serving" if number == 0 else "trial", traffic=50,
        )  # fmt: skip
    InstructionVersion.objects.create(
        campaign=campaign, version=1, summary="- Be kind.", body="Pick one.", consent="Published."
    )
    return campaign


def agreed_person(campaign: Campaign, **values) -> Crowdworker:
    """A crowdworker who accepted the campaign's instructions (and red-team work)."""
    person = make_crowdworker(is_red_team_opted_in=campaign.is_red_team, **values)
    onboarding.give_consent(person, campaign.instruction_versions.get())
    return person


def begun(campaign: Campaign, person: Crowdworker | None = None) -> Conversation:
    """An open conversation of a person who may work."""
    person = person or agreed_person(campaign)
    conversation = chat.start_conversation(onboarding.open_assignment(person, campaign))
    if campaign.is_red_team:
        chat.set_intent(conversation, "I will try to get an insult.")
        conversation.refresh_from_db()
    return conversation


def said(conversation: Conversation, text: str = "Hello", **values) -> Turn:
    """A message with a key of its own."""
    return chat.say(conversation, text=text, message_key=uuid.uuid4(), **values)


def answered(turn: Turn, *, a: str = "First.", b: str = "Second.") -> Turn:
    """Both responses complete, as a worker would store them."""
    showing = author_showing(turn)
    for response, text in ((showing.side_a, a), (showing.side_b, b)):
        Response.objects.filter(pk=response.pk).update(
            state="ready", text=text, text_sha256=hash_of(text), finish_reason="stop"
        )
    Turn.objects.filter(pk=turn.pk).update(state="ready", lease_until=None)
    turn.refresh_from_db()
    return turn


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def chosen(
    turn: Turn, *, side: str = "A", strength: int = 3, key: uuid.UUID | None = None, **values
):
    """A choice by the writer of the message, for the texts as they are stored."""
    showing = author_showing(turn)
    return judging.record_choice(
        showing, side=side, strength=strength, choice_key=key or uuid.uuid4(),
        text_sha256={"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256}, **values,
    )  # fmt: skip
