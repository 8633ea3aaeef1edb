"""TRL's preference format: `prompt`, `chosen` and `rejected` as lists of messages or as plain texts.

Reads and writes single records; knows neither files nor the database.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from comparisons.core.transcript import Message, chosen_and_rejected
from comparisons.formats import hh
from comparisons.formats.pairs import (
    LineError,
    Pair,
    checked_messages,
    checked_prompt,
    checked_text,
)
from comparisons.formats.rich import ComparisonRow

REPLY_MARKER = "\n\nAssistant:"
NO_PROMPT = (
    "chosen and rejected are plain texts without a prompt: give the row its `prompt`, "
    r"or read dialogues of '\n\nHuman:' and '\n\nAssistant:' with --format hh"
)


def record_of(row: ComparisonRow) -> dict[str, list[Message]]:
    """Write one comparison in training order, the prompt apart."""
    chosen, rejected = chosen_and_rejected(
        question=row.question, picked=row.picked, other=row.other
    )
    return {
        "prompt": row.messages,
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def pair_of(record: Mapping[str, Any]) -> Pair:
    """Read one record: its prompt is apart or, of messages, at the head of both sides; a text may be both."""
    if isinstance(record.get("chosen"), str) or isinstance(record.get("rejected"), str):
        return _pair_of_texts(record)
    chosen = checked_messages(record.get("chosen"), where="chosen")
    rejected = checked_messages(record.get("rejected"), where="rejected")
    if "prompt" in record:
        chosen = _before(chosen, prompt=record["prompt"], where="chosen") + chosen
        rejected = _before(rejected, prompt=record["prompt"], where="rejected") + rejected
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise LineError("chosen and rejected do not end on an assistant message")
    if chosen[:-1] != rejected[:-1] or len(chosen) < 2:
        raise LineError("chosen and rejected do not answer the same messages")
    return Pair(
        messages=checked_prompt(chosen[:-1]),
        picked=chosen[-1]["content"],
        other=rejected[-1]["content"],
    )


def _before(messages: list[Message], *, prompt: object, where: str) -> list[Message]:
    """What the prompt adds before one side: nothing where the side itself begins with it."""
    if not isinstance(prompt, str):
        before = checked_messages(prompt, where="prompt")
        return [] if messages[: len(before)] == before else before
    text, first = checked_text(prompt, where="prompt").strip(), messages[0]["content"].strip()
    if messages[0]["role"] == "assistant":
        if not text:
            raise LineError(f"prompt is empty and {where} begins on an assistant message")
        return _messages_of(prompt)
    if text != first:
        shared = takewhile(lambda pair: pair[0] == pair[1], zip(text, first, strict=False))
        raise LineError(
            f"prompt and the first user message of {where} differ from character {len(list(shared)) + 1} on: "
            "make them equal, or leave `prompt` out where the messages hold the whole dialogue"
        )
    return []


def _messages_of(prompt: str) -> list[Message]:
    """One human message, or the dialogue that its markers make."""
    if not hh.MARKER.search(prompt):
        return [{"role": "user", "content": prompt}]
    messages = hh.parse_transcript(prompt)
    if messages[-1]["role"] == "assistant" and not messages[-1]["content"].strip():
        messages.pop()  # only its marker stands there, for the reply to follow
    return messages


def _pair_of_texts(record: Mapping[str, Any]) -> Pair:
    """Read texts on both sides: the replies stay as they are but for the marker that they follow."""
    chosen = checked_text(record.get("chosen"), where="chosen")
    rejected = checked_text(record.get("rejected"), where="rejected")
    prompt = checked_text(record.get("prompt") or "", where="prompt")
    if not prompt.strip():
        raise LineError(NO_PROMPT)
    if hh.is_transcript(chosen) and hh.is_transcript(rejected):  # the prompt is in both again
        return hh.pair_of(record)
    messages = _messages_of(prompt)
    if hh.MARKER.search(prompt):
        chosen, rejected = (_reply(each, prompt=prompt) for each in (chosen, rejected))
    return Pair(
        messages=checked_prompt(messages), picked=chosen, other=rejected,
        is_odd=bool(hh.MARKER.search(chosen) or hh.MARKER.search(rejected)),
    )  # fmt: skip


def _reply(text: str, *, prompt: str) -> str:
    """The text without the marker that it follows, which may stand on either side, and the one space after that."""
    if text.startswith(REPLY_MARKER):
        return text.removeprefix(REPLY_MARKER).removeprefix(" ")
    return text.removeprefix(" ") if prompt.endswith(REPLY_MARKER) else text
