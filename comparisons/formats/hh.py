r"""The public HH format: `chosen` and `rejected` as whole transcripts of `\n\nHuman:` and `\n\nAssistant:`.

Reads and writes single records; knows neither files nor the database.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from comparisons.core.transcript import Message, chosen_and_rejected
from comparisons.formats.pairs import LineError, Pair, checked_text
from comparisons.formats.rich import ComparisonRow

NAMES = {"user": "Human", "assistant": "Assistant"}
ROLES = {name: role for role, name in NAMES.items()}
MARKER = re.compile(r"\n\n(Human|Assistant):")
NO_TURNS = (
    r"the transcript does not begin with '\n\nHuman:': write it so, or give the row its `prompt` "
    "apart and read it with --format trl"
)


def render(messages: Iterable[Message]) -> str:
    """A transcript as the public files write it."""
    return "".join(f"\n\n{NAMES[each['role']]}: {each['content']}" for each in messages)


def parse_transcript(text: str) -> list[Message]:
    """The messages of a transcript; a role that repeats stays verbatim inside its message.

    Nothing is stripped but the one space after a marker, so that rendering gives the text again.
    """
    parts = MARKER.split(text)
    if parts[0].strip() or len(parts) < 3:
        raise LineError(r"the transcript does not begin with '\n\nHuman:'")
    messages: list[Message] = []
    for name, said in zip(parts[1::2], parts[2::2], strict=True):
        role, content = ROLES[name], said.removeprefix(" ")
        if messages and messages[-1]["role"] == role:
            joined = messages[-1]["content"] + f"\n\n{name}:{said}"
            messages[-1] = {"role": role, "content": joined}
        else:
            messages.append({"role": role, "content": content})
    if messages[0]["role"] != "user":
        raise LineError("the transcript does not begin on the human side")
    return messages


def is_transcript(text: str) -> bool:
    """Whether the text is a whole dialogue: it begins on the human side."""
    first = MARKER.search(text)
    return first is not None and first[1] == "Human" and not text[: first.start()].strip()


def pair_of(record: Mapping[str, Any]) -> Pair:
    """Read one record: the reply on each side is what follows the last message both share."""
    texts = [checked_text(record.get(side), where=side) for side in ("chosen", "rejected")]
    if not any(MARKER.search(each) for each in texts):
        raise LineError(NO_TURNS)
    chosen, rejected = (parse_transcript(each) for each in texts)
    shared = _shared_prompt_length(chosen, rejected)
    picked, other = _reply(chosen[shared:]), _reply(rejected[shared:])
    return Pair(
        messages=chosen[:shared], picked=picked, other=other,
        is_odd=bool(MARKER.search(picked) or MARKER.search(other)),
    )  # fmt: skip


def record_of(row: ComparisonRow) -> dict[str, str]:
    """Write one comparison in training order."""
    chosen, rejected = chosen_and_rejected(
        question=row.question, picked=row.picked, other=row.other
    )
    prompt = render(row.messages)
    return {
        "chosen": prompt + render([{"role": "assistant", "content": chosen}]),
        "rejected": prompt + render([{"role": "assistant", "content": rejected}]),
    }


def _shared_prompt_length(chosen: list[Message], rejected: list[Message]) -> int:
    """How many messages both share, ending on a user message that an assistant answers on both."""
    shared = 0
    for length in range(1, min(len(chosen), len(rejected))):
        if chosen[length - 1] != rejected[length - 1]:
            break
        if chosen[length - 1]["role"] == "user":
            shared = length
    if not shared:
        raise LineError("the two transcripts share no human message that an assistant answers")
    return shared


def _reply(messages: list[Message]) -> str:
    """The first message, with whatever follows it verbatim (a dialogue that parted early)."""
    return messages[0]["content"] + render(messages[1:])
