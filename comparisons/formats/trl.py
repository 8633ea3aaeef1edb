"""TRL's preference format: `prompt`, `chosen` and `rejected` as lists of messages.

Reads and writes single records; knows neither files nor the database.
"""

from collections.abc import Mapping
from typing import Any

from comparisons.core.transcript import Message, chosen_and_rejected
from comparisons.formats.pairs import LineError, Pair, checked_messages, checked_prompt
from comparisons.formats.rich import ComparisonRow


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
    """Read one record, with its prompt apart or at the head of both sides."""
    chosen = checked_messages(record.get("chosen"), where="chosen")
    rejected = checked_messages(record.get("rejected"), where="rejected")
    if "prompt" in record:
        prompt = checked_messages(record["prompt"], where="prompt")
        chosen, rejected = prompt + chosen, prompt + rejected
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise LineError("chosen and rejected do not end on an assistant message")
    if chosen[:-1] != rejected[:-1] or len(chosen) < 2:
        raise LineError("chosen and rejected do not answer the same messages")
    return Pair(
        messages=checked_prompt(chosen[:-1]),
        picked=chosen[-1]["content"],
        other=rejected[-1]["content"],
    )
