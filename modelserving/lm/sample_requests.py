"""What a sampler is asked for and what it tells as it goes.

Does not know models, text or users.
"""

from dataclasses import dataclass, field

TopLogprobs = tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """One prompt and the seeds of its samples."""

    key: str
    prompt: tuple[int, ...]
    seeds: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop_ids: frozenset[int] = frozenset()
    top_logprobs: int = 0
    prompt_logprobs: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenDrawn:
    """One more token of one sample; `finish` says that it is the last."""

    key: str
    sample: int
    token_id: int
    logprob: float
    top: TopLogprobs = ()
    finish: str | None = None


@dataclass(frozen=True, kw_only=True)
class PromptRead:
    """The prompt is read: how much of it was known, and, where asked for, what its own tokens cost."""

    key: str
    cached_tokens: int
    logprobs: tuple[float, ...] = ()  # of tokens 1..
    tops: tuple[TopLogprobs, ...] = ()


Event = TokenDrawn | PromptRead


@dataclass(kw_only=True)
class Sampled:
    """One sampled response; a stop token, if it came to one, is its last token."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""
