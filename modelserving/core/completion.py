"""What an engine's reply is made of: pieces of text as they come, and the whole with its circumstances.

Plain values; does not know who generated them or what they are for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "stopped"]


@dataclass(frozen=True)
class Delta:
    """A piece of text that continues what came before."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One whole reply; of a best-of-k, `candidates` holds every sample with its score, best first."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    seed: int
    score: float | None = None
    candidates: tuple[Mapping[str, Any], ...] = ()
    first_token_milliseconds: int | None = None
    total_milliseconds: int = 0
    prompt_sha256: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


def storable(text: str) -> str:
    """The text as any database and any page can hold it: no NUL, no half surrogate pairs.

    >>> storable("a\\x00b\\ud800c")
    'abc'
    """
    return "".join(c for c in text if c != "\x00" and not "\ud800" <= c <= "\udfff")
