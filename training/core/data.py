"""Read a dataset release as typed rows, with errors that name file, line and cure.

It does not know tokens, models, or how a release was cut.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from comparisons.core.transcript import chosen_and_rejected
from modelserving.core.dialogue import check_dialogue, is_whole
from training.config import ConfigError
from training.core.lines import numbered_lines

Split = Literal["train", "test"]


class ReleaseRefused(ConfigError):
    """A release that cannot be trained on; the message names the number or file to change."""


@dataclass(frozen=True, kw_only=True)
class ReleaseRow:
    """One comparison as a release stores it."""

    comparison: str
    conversation: str
    turn: int
    messages: Sequence[Mapping[str, str]]  # ends on a user message
    picked: str
    other: str
    question: str
    objective: str
    strength: int | None
    tranche: str
    origin: str
    picked_checkpoint: str | None
    other_checkpoint: str | None
    finish_reasons: Sequence[str]
    best_of: Sequence[int] = (1, 1)  # of picked, of other; older releases lack it

    @property
    def chosen(self) -> str:
        """The response that training prefers."""
        chosen, _ = chosen_and_rejected(
            question=self.question, picked=self.picked, other=self.other
        )
        return chosen

    @property
    def rejected(self) -> str:
        """The response that training prefers less."""
        _, rejected = chosen_and_rejected(
            question=self.question, picked=self.picked, other=self.other
        )
        return rejected

    @property
    def first_human_message(self) -> str:
        """What decides the row's split."""
        return self.messages[0]["content"]


CURE = "cut the release again"
FIELDS = tuple(field.name for field in fields(ReleaseRow))
TEXTS = (
    "picked", "other", "question", "conversation", "objective", "comparison", "tranche", "origin",
)  # fmt: skip
STRENGTHS = (None, 1, 2, 3, 4)
ALWAYS = tuple(field.name for field in fields(ReleaseRow) if field.default is MISSING)


def read_release(directory: Path, split: Split) -> list[ReleaseRow]:
    """Every row of one split; refuses a split that is missing, empty or malformed."""
    path = directory / f"{split}.jsonl.gz"
    if not path.is_file():
        raise ReleaseRefused(f"{path} is not there: {directory} is not a dataset release")
    rows = list(_rows(path))
    if not rows:
        raise ReleaseRefused(
            f"the {split} split of {directory.name} has 0 comparisons: cut a larger release, "
            "or one with another test share"
        )
    return rows


def require_two_sided(rows: Iterable[ReleaseRow]) -> None:
    """Refuse rows none of which has two different responses."""
    if all(row.picked == row.other for row in rows):
        raise ReleaseRefused(
            "no row has two different responses: nothing can be learned from these comparisons"
        )


def chosen_documents(rows: Iterable[ReleaseRow]) -> Iterator[dict[str, Any]]:
    """Dialogues that end on the chosen response, once each, for training on chosen responses."""
    seen: set[str] = set()
    for row in rows:
        messages = [*row.messages, {"role": "assistant", "content": row.chosen}]
        key = json.dumps(messages, sort_keys=True)
        if key not in seen:
            seen.add(key)
            yield {"messages": messages}


def _rows(path: Path) -> Iterator[ReleaseRow]:
    for where, line in numbered_lines(path, refusal=ReleaseRefused, cure=CURE):
        yield _row(line, where=where)


def _row(line: str, *, where: str) -> ReleaseRow:
    try:
        stored = json.loads(line)
    except ValueError as broken:
        raise ReleaseRefused(f"{where} is not JSON ({broken}): {CURE}") from None
    if not isinstance(stored, dict):
        raise ReleaseRefused(f"{where} is not a JSON object: {CURE}")
    missing = [name for name in ALWAYS if name not in stored]
    if missing:
        raise ReleaseRefused(f"{where} lacks {', '.join(missing)}: {CURE}")
    row = ReleaseRow(**{name: stored[name] for name in FIELDS if name in stored})
    try:
        _check(row)
    except (ValueError, TypeError) as unusable:
        raise ReleaseRefused(f"{where} cannot be used ({unusable}): {CURE}") from None
    return row


def _check(row: ReleaseRow) -> None:
    """Raise ValueError or TypeError for what is no comparison of two responses to one prompt."""
    check_dialogue(row.messages)
    if row.messages[-1]["role"] != "user":
        raise ValueError("its messages do not end on a user message")
    for name in TEXTS:
        if not isinstance(getattr(row, name), str):
            raise TypeError(f"{name} is not text")
        if not is_whole(getattr(row, name)):
            raise ValueError(f"{name} holds half of a surrogate pair")
    _check_facts(row)
    chosen_and_rejected(question=row.question, picked=row.picked, other=row.other)


def _check_facts(row: ReleaseRow) -> None:
    """The same for what is known of how the comparison came about."""
    if row.strength not in STRENGTHS:
        raise ValueError(f"strength {row.strength!r} is neither null nor 1 to 4")
    if not isinstance(row.turn, int):
        raise TypeError("turn is not a number")
    for name in ("picked_checkpoint", "other_checkpoint"):
        if not isinstance(getattr(row, name), str | None):
            raise TypeError(f"{name} is neither null nor a text")
    if not (isinstance(row.finish_reasons, list) and _are(row.finish_reasons, str)):
        raise TypeError("finish_reasons is not a list of texts")
    if not (_are(row.best_of, int) and len(row.best_of) == 2):
        raise TypeError("best_of is not a pair of numbers")


def _are(values: Sequence[Any], kind: type) -> bool:
    return all(isinstance(each, kind) for each in values)
