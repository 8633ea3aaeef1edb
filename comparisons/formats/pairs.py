"""What one line of any file of comparisons says, once read: a dialogue so far and two replies.

Pure values; knows neither a file format nor the database.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeGuard

from comparisons.core.transcript import Message

ROLES = ("user", "assistant")


class LineError(ValueError):
    """A line that cannot be imported; the message says why, in words for the person importing."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two replies to the same messages, in picked order."""

    messages: list[Message]  # ends on a user message
    picked: str
    other: str
    question: str = ""  # empty: the usual question of the objective imported under
    strength: int | None = None
    objective: str = ""  # empty: as the import was told
    tranche: str = ""
    is_simulated: bool = False
    finish_reasons: tuple[str, str] = ("stop", "stop")  # of picked, of other
    comparison: str = ""  # the uuid it had where it was exported
    is_odd: bool = False  # the two texts part before their last reply, or a reply holds a marker

    @property
    def is_same_text(self) -> bool:
        """Nothing to compare: both replies say the same."""
        return self.picked.strip() == self.other.strip()

    @property
    def has_empty_reply(self) -> bool:
        """One side says nothing; kept, for preferring an answer over silence is information."""
        return not self.picked.strip() or not self.other.strip()


def is_one_of(value: object, choices: Collection[str]) -> TypeGuard[str]:
    """Whether the value is one of these words; a list or an object, which no set can look up, is none."""
    return isinstance(value, str) and value in choices


def checked_text(value: object, *, where: str) -> str:
    """The value as text that every database stores: a string, no NUL, no lone surrogate."""
    if not isinstance(value, str):
        raise LineError(f"{where} is not a text")
    if "\x00" in value:
        raise LineError(f"{where} holds a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise LineError(f"{where} holds half of a surrogate pair") from None
    return value


def checked_messages(value: object, *, where: str) -> list[Message]:
    """The value as a non-empty list of user and assistant messages."""
    if not isinstance(value, list) or not value:
        raise LineError(f"{where} is not a list of messages")
    messages: list[Message] = []
    for number, each in enumerate(value, 1):
        role = each.get("role") if isinstance(each, dict) else None
        if not is_one_of(role, ROLES):
            cure = ": put what it says into the first user message" if role == "system" else ""
            raise LineError(f"message {number} of {where} has no role user or assistant{cure}")
        content = checked_text(each.get("content"), where=f"message {number} of {where}")
        messages.append({"role": role, "content": content})
    return messages


def checked_prompt(messages: list[Message]) -> list[Message]:
    """Messages that a reply can answer: they end on the human side."""
    if messages[-1]["role"] != "user":
        raise LineError("the prompt does not end on a user message")
    return messages
