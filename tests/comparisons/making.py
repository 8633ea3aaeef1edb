"""Small real rows for tests: people, deployments, campaigns and finished turns.

Each function makes one noun with what it needs and nothing more.
"""

from hashlib import sha256
from itertools import count

from comparisons.core.splits import first_message_sha256
from comparisons.models import (
    Account,
    Campaign,
    Comparison,
    Conversation,
    Crowdworker,
    Response,
    Showing,
    Turn,
)
from modelserving.models import Checkpoint, Deployment, Slot

_number = count(1)
PASSWORD = "a long enough password"


def make_account(role: str = "crowdworker", *, name: str | None = None) -> Account:
    number = next(_number)
    name = name or f"{role}{number}"
    return Account.objects.create_user(
        username=name, email=f"{name}@canary.example", password=PASSWORD, role=role
    )


def make_crowdworker(*, pseudonym: str | None = None, **values) -> Crowdworker:
    number = next(_number)
    return Crowdworker.objects.create(
        account=make_account(), pseudonym=pseudonym or f"kx-{number}",
        external_id_hash=f"canary-external-{number}", **values,
    )  # fmt: skip


def make_checkpoint(**values) -> Checkpoint:
    number = next(_number)
    values = {
        "hash": sha256(f"checkpoint {number}".encode()).hexdigest(), "kind": "policy",
        "origin": "trained", "name": f"policy-{number}", "manifest": {}, "size": 1000, **values,
    }  # fmt: skip
    return Checkpoint.objects.create(**values)


def make_deployment(name: str | None = None) -> Deployment:
    return Deployment.objects.create(
        name=name or f"deployment-{next(_number)}", checkpoint=make_checkpoint()
    )


def make_campaign(*, objective: str = "helpful", **values) -> Campaign:
    number = next(_number)
    values = {
        "slug": f"campaign-{number}", "title": f"Campaign {number}", "objective": objective,
        "question": "more_helpful" if objective == "helpful" else "more_harmful",
        "state": "live", "slot": Slot.objects.create(name=f"slot-{number}"), **values,
    }  # fmt: skip
    return Campaign.objects.create(**values)


def make_conversation(
    *,
    crowdworker: Crowdworker | None = None,
    campaign: Campaign | None = None,
    first: str = "Hello",
    **values,
) -> Conversation:
    campaign = campaign or make_campaign()
    return Conversation.objects.create(
        crowdworker=crowdworker or make_crowdworker(), campaign=campaign,
        objective=campaign.objective, first_message_sha256=first_message_sha256(first), **values,
    )  # fmt: skip


def make_response(turn: Turn, *, text: str, deployment: Deployment | None = None, **values):
    values = {"state": "ready", "finish_reason": "stop", **values}
    return Response.objects.create(
        turn=turn, text=text, text_sha256=sha256(text.encode()).hexdigest(),
        deployment=deployment, **values,
    )  # fmt: skip


def make_comparison(
    conversation: Conversation,
    *,
    message: str = "Hello",
    picked: str = "Good.",
    other: str = "Bad.",
    picked_by: Deployment | None = None,
    other_by: Deployment | None = None,
    strength: int | None = 3,
    finish_reason: str = "stop",
    side: str = "A",
    **values,
) -> Comparison:
    """A chosen turn at the end of the conversation, with its comparison carrying it on."""
    turn = Turn.objects.create(
        conversation=conversation, index=conversation.turns.count(), message=message,
        message_sha256=sha256(message.encode()).hexdigest(), state=Turn.State.CHOSEN,
    )  # fmt: skip
    one = make_response(turn, text=picked, deployment=picked_by, finish_reason=finish_reason)
    two = make_response(turn, text=other, deployment=other_by)
    showing = Showing.objects.create(
        turn=turn, crowdworker=conversation.crowdworker,
        side_a=one if side == "A" else two, side_b=two if side == "A" else one,
    )  # fmt: skip
    campaign = conversation.campaign
    values = {"crowdworker": conversation.crowdworker, "tranche": campaign.tranche, **values}
    comparison = Comparison.objects.create(
        showing=showing, turn=turn, picked=one, other=two, side=side, strength=strength,
        question=campaign.question, objective=campaign.objective, **values,
    )  # fmt: skip
    turn.continued_by = comparison
    turn.save(update_fields=["continued_by"])
    return comparison
