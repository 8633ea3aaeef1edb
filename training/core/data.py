"""Read a dataset release as typed rows, with errors that name file, line and cure.

It does not know tokens, models, or how a release was cut.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from comparisons.core.transcript import chosen_and_rejected
from training.config import ConfigError

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
    best_of: Sequence[int] = (1, 1)  # of picked, of other; releases of before say nothing of it

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


FIELDS = tuple(field.name for field in fields(ReleaseRow))
ALWAYS = tuple(field.name for field in fields(ReleaseRow) if field.default is MISSING)


def read_release(directory: Path, split: Split) -> list[ReleaseRow]:
    """Every row of one split; refuses a split that is missing, empty or malformed."""
    path = directory / f"{split}.jsonl.gz"
    if not path.is_file():
        raise ReleaseRefused(f"{path} is not there: {directory} is no dataset release")
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
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield _row(line, where=f"{path.name} line {number}")
    except (EOFError, gzip.BadGzipFile) as damaged:
        raise ReleaseRefused(f"{path} is damaged ({damaged}): cut the release again") from None


def _row(line: str, *, where: str) -> ReleaseRow:
    try:
        stored = json.loads(line)
    except ValueError as broken:
        raise ReleaseRefused(f"{where} is not JSON ({broken}): cut the release again") from None
    missing = [name for name in ALWAYS if name not in stored]
    if missing:
        raise ReleaseRefused(f"{where} lacks {', '.join(missing)}: cut the release again")
    row = ReleaseRow(**{name: stored[name] for name in FIELDS if name in stored})
    if not row.messages or row.messages[-1].get("role") != "user":
        raise ReleaseRefused(f"{where} does not end on a user message: cut the release again")
    return row
