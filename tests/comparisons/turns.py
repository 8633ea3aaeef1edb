"""Turns that wait for their responses, and what a reader of their stream ends with."""

from datetime import timedelta
from hashlib import sha256

import redis
from django.utils import timezone

from comparisons.core.transcript import Message
from comparisons.models import Response, Showing, Turn
from comparisons.services.streaming import stream_key
from modelserving.core.completion import Completion
from tests.comparisons.making import make_conversation
from tests.modelserving.serving import make_deployment


def make_turn(*, conversation=None, deployments=None, message="Hello", **values) -> Turn:
    conversation = conversation or make_conversation()
    a, b = deployments or (make_deployment("policy-one"), make_deployment("policy-two"))
    turn = Turn.objects.create(
        conversation=conversation, index=conversation.turns.count(), message=message,
        message_sha256=sha256(message.encode()).hexdigest(),
        is_held_back=a.is_held_back or b.is_held_back, **values,
    )  # fmt: skip
    side_a, side_b = (
        Response.objects.create(turn=turn, deployment=each, seed=seed)
        for each, seed in ((a, 11), (b, 22))
    )
    Showing.objects.create(
        turn=turn, crowdworker=conversation.crowdworker, side_a=side_a, side_b=side_b
    )
    return turn


def sides(turn) -> dict[str, Response]:
    showing = turn.showings.get(replaced_at__isnull=True)
    return {"A": showing.side_a, "B": showing.side_b}


def streamed(turn, url) -> list[tuple[str, str, str]]:
    with redis.Redis.from_url(url) as client:
        entries = client.xrange(stream_key(turn.public_id))
    return [
        tuple(fields[key].decode() for key in (b"kind", b"side", b"text")) for _, fields in entries
    ]


def shown(events) -> dict[str, str]:
    """The text that a reader of these events ends with."""
    texts = {"A": "", "B": ""}
    for kind, side, text in events:
        if kind == "reset":
            texts.update({side: ""} if side else {"A": "", "B": ""})
        if kind == "delta":
            texts[side] += text
    return texts


def expected(engine, turn, side, *, messages: list[Message] | None = None) -> str:
    request = {
        "messages": messages or [{"role": "user", "content": turn.message}],
        "seed": {"A": 11, "B": 22}[side], "max_tokens": 64,
    }  # fmt: skip
    return " ".join(engine.text_of(request))


def expire_lease(turn):
    Turn.objects.filter(pk=turn.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def completion(text) -> Completion:
    return Completion(text=text, token_ids=(1,), finish_reason="stop", seed=1)
