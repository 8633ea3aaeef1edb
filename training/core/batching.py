"""From comparisons to packed steps: encoding, shuffling, and rows of balanced length.

It does not know models or losses. Everything here is a pure function of its arguments and the seed.
"""

import hashlib
import random
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from modelserving.core.dialogue import DialogueFormat, TextEncoder, encode_replies
from modelserving.lm.threads import balanced_bins
from training.core.data import ReleaseRow

Half = Literal["all", "first", "second"]


@dataclass(frozen=True, kw_only=True)
class EncodedComparison:
    """One comparison in tokens, and what its evaluation is broken down by."""

    chosen: Sequence[int]
    rejected: Sequence[int]
    prompt_tokens: int  # both sides begin with the same prompt
    conversation: str
    turn: int
    objective: str
    tranche: str
    strength: int | None
    dropped_messages: int
    is_cut: bool = False  # messages were dropped, or one or a response lost its beginning


def compact(token_ids: Iterable[int]) -> Sequence[int]:
    """The tokens in 4 bytes each, where a list takes up to 40: all comparisons of a run stay in memory."""
    return array("i", token_ids)


def encode_comparison(
    row: ReleaseRow, *, encoder: TextEncoder, layout: DialogueFormat
) -> EncodedComparison:
    """Both dialogues up to the end-of-context token, cut alike from the left so that they share their prompt."""
    both = encode_replies(row.messages, [row.chosen, row.rejected], encoder=encoder, layout=layout)
    chosen, rejected = map(compact, both.dialogues)
    return EncodedComparison(
        chosen=chosen,
        rejected=rejected,
        prompt_tokens=len(both.prompt.token_ids),
        conversation=row.conversation,
        turn=row.turn,
        objective=row.objective,
        tranche=row.tranche,
        strength=row.strength,
        dropped_messages=both.prompt.dropped_messages,
        is_cut=both.is_cut,
    )


def in_half(first_message: str, half: Half) -> bool:
    """Disjoint halves by the first human message, as releases split: a dialogue stands in one."""
    if half == "all":
        return True
    digest = hashlib.sha256(f"preference-model-half:{first_message.strip()}".encode()).digest()
    return (digest[0] % 2 == 0) == (half == "first")


def group_conversations(comparisons: Sequence[EncodedComparison]) -> list[list[int]]:
    """Indices of the comparisons of each conversation, turns in order: one tree each."""
    groups: dict[str, list[int]] = {}
    for index, comparison in enumerate(comparisons):
        groups.setdefault(comparison.conversation, []).append(index)
    return [sorted(group, key=lambda index: comparisons[index].turn) for group in groups.values()]


def plan_steps(
    groups: Sequence[Sequence[int]], *, batch_size: int, epochs: int, seed: int
) -> list[list[list[int]]]:
    """Shuffled steps of about `batch_size` comparisons; a conversation stays in one step where it fits.

    The plan depends on its arguments alone, so a resumed run continues it at any step.
    """
    steps: list[list[list[int]]] = []
    for epoch in range(epochs):
        shuffled = [list(group) for group in groups]
        random.Random(f"{seed}:{epoch}").shuffle(shuffled)
        step: list[list[int]] = []
        filled = 0
        for group in shuffled:
            for start in range(0, len(group), batch_size):
                piece = group[start : start + batch_size]
                if filled + len(piece) > batch_size:
                    steps.append(step)
                    step, filled = [], 0
                step.append(piece)
                filled += len(piece)
        if step:
            steps.append(step)
    return steps


def balanced_rows(lengths: Sequence[int], *, row_tokens: int, multiple: int = 1) -> list[list[int]]:
    """Split items into rows of about `row_tokens`, their number rounded up to a multiple; empty rows are dropped."""
    count = max(1, -(-sum(lengths) // row_tokens))
    count = -(-count // multiple) * multiple
    return [row for row in balanced_bins(lengths, count=count) if row]
