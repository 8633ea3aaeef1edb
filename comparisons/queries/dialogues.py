"""What was said so far: the messages that a turn's responses answer.

Reads conversations; writes nothing and asks no model.
"""

from typing import Any

from django.db.models import QuerySet

from comparisons.core.transcript import Message, dialogue
from comparisons.models import Turn
from comparisons.queries.prepared import Prepared


def _earlier(*, conversation: int, index: int) -> QuerySet[Any, Any]:
    turns = Turn.objects.filter(
        conversation=conversation, index__lt=index, continued_by__isnull=False
    ).exclude(state=Turn.State.SKIPPED)
    return turns.order_by("index").values_list("message", "continued_by__picked__text")


_EARLIER: Prepared[Any] = Prepared(_earlier)


def messages_of(turn: Turn) -> list[Message]:
    """The opening, every earlier chosen turn with its picked response, and the turn's own message.

    Skipped turns are not part of the dialogue; the picked response carries it on, whatever the question.
    """
    earlier = _EARLIER.rows(conversation=turn.conversation_id, index=turn.index)
    said = [(str(message), str(picked)) for message, picked in earlier]
    return dialogue(opening=turn.conversation.opening, turns=said, message=turn.message)
