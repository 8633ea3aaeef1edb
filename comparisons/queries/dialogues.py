"""What was said so far: the messages that a turn's responses answer.

Reads conversations; writes nothing and asks no model.
"""

from comparisons.core.transcript import Message, dialogue
from comparisons.models import Turn


def messages_of(turn: Turn) -> list[Message]:
    """The opening, every earlier chosen turn with its picked response, and the turn's own message.

    Skipped turns are not part of the dialogue; the picked response carries it on, whatever the question.
    """
    earlier = (
        Turn.objects.filter(
            conversation_id=turn.conversation_id, index__lt=turn.index, continued_by__isnull=False
        )
        .exclude(state=Turn.State.SKIPPED)
        .order_by("index")
        .values_list("message", "continued_by__picked__text")
    )
    return dialogue(opening=turn.conversation.opening, turns=earlier, message=turn.message)
