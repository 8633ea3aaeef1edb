"""The rich row: one comparison with everything that training and analysis ask for.

The row schema of releases and exports, whose fields the trainers read; knows neither files nor the database.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from comparisons.core.transcript import Message
from comparisons.formats.pairs import (
    LineError,
    Pair,
    checked_messages,
    checked_prompt,
    checked_text,
    is_one_of,
)

QUESTIONS = {
    "helpful": {"more_helpful"},
    "harmless": {"more_harmful", "less_harmful"},
}
TRANCHES = ("base", "rejection_sampled", "online")
FINISH_REASONS = ("stop", "length", "stopped", "written")


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """A comparison as it was made: picked and other, never flipped; readers flip by `question`."""

    comparison: str  # uuid
    conversation: str  # uuid
    turn: int  # 0-based; skipped turns counted
    messages: list[Message]  # ends on a user message
    picked: str
    other: str
    question: str
    objective: str
    strength: int | None  # 1 unsure .. 4; None unknown
    tranche: str
    origin: str
    picked_checkpoint: str | None
    other_checkpoint: str | None
    finish_reasons: list[str]  # of picked, of other
    # of picked, of other: from how many samples a preference model took it; older rows lack it
    best_of: list[int] = field(default_factory=lambda: [1, 1])

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON writes it."""
        return asdict(self)


def pair_of(record: Mapping[str, Any]) -> Pair:
    """Read one rich row for import; what names people, checkpoints or times is left behind."""
    objective = record.get("objective")
    question = record.get("question")
    tranche = record.get("tranche", "base")
    if not is_one_of(objective, QUESTIONS):
        raise LineError("objective is neither helpful nor harmless")
    if not is_one_of(question, QUESTIONS[objective]):
        raise LineError(f"question {_shown(question)} does not fit the objective {objective}")
    if not is_one_of(tranche, TRANCHES):
        raise LineError(f"tranche {_shown(tranche)} is not one of {', '.join(TRANCHES)}")
    return Pair(
        messages=checked_prompt(checked_messages(record.get("messages"), where="messages")),
        picked=checked_text(record.get("picked"), where="picked"),
        other=checked_text(record.get("other"), where="other"),
        question=question,
        strength=_strength(record.get("strength")),
        objective=objective,
        tranche=tranche,
        is_simulated=record.get("origin") == "simulated",
        finish_reasons=_finish_reasons(record.get("finish_reasons", ["stop", "stop"])),
        comparison=_uuid(record.get("comparison")),
    )


def _shown(value: object) -> str:
    """A wrong value as a message quotes it; one that holds others may be endless and is not quoted."""
    return "which holds other values" if isinstance(value, list | dict) else f"{value!r:.60}"


def _strength(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in {1, 2, 3, 4}:
        raise LineError("strength is not 1, 2, 3, 4 or null")
    return int(value)


def _uuid(value: object) -> str:
    if value is None:
        return ""
    try:
        return str(UUID(checked_text(value, where="comparison")))
    except ValueError:
        raise LineError("comparison is not a UUID") from None


def _finish_reasons(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise LineError("finish_reasons is not a list of two")
    for each in value:
        if not is_one_of(each, FINISH_REASONS):
            known = ", ".join(FINISH_REASONS)
            raise LineError(f"finish reason {_shown(each)} is not one of {known}")
    return value[0], value[1]
