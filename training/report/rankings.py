"""What a best-of-k run ranked, prompt by prompt, and the response in the middle of each ranking.

Knows the files of a run's directory; knows neither rows of the database nor pages.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

PUBLISHED = Path("rollouts", "rankings.jsonl.gz")
GROWING = Path("rollouts.partial", "rankings.jsonl")  # while the run samples, or when it failed
PER_PAGE = 12
FURTHEST_PAGE = 100_000


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A prompt and its k responses, best first."""

    messages: Sequence[Mapping[str, str]]
    objective: str
    responses: Sequence[Mapping[str, Any]]  # text, score, sample, finish_reason

    @property
    def k(self) -> int:
        """How many were sampled."""
        return len(self.responses)

    @property
    def best(self) -> Mapping[str, Any]:
        """The response of the highest score."""
        return self.responses[0]

    @property
    def middle(self) -> int:
        """Where the median stands, 1 for the best; of an even k the lower of the two middle ones."""
        return self.k // 2 + 1

    @property
    def median(self) -> Mapping[str, Any]:
        """The response whose score is the median: what shows a model without picking (Bai et al. 2022, §6)."""
        return self.responses[self.middle - 1]

    def median_row(self) -> dict[str, Any]:
        """The median as a line of the download."""
        return {
            "messages": self.messages,
            "objective": self.objective,
            "response": self.median["text"],
            "score": self.median["score"],
            "sample": self.median["sample"],
            "finish_reason": self.median["finish_reason"],
            "median_of": self.k,
            "best_score": self.best["score"],
        }


@dataclass(frozen=True, kw_only=True)
class RankingPage:
    """Some rankings in the run's own order: nothing is sorted by how good it looks."""

    rankings: Sequence[Ranking]
    number: int  # from 1
    has_next: bool

    @property
    def k(self) -> int:
        """How many were sampled for each prompt."""
        return self.rankings[0].k

    @property
    def is_even(self) -> bool:
        """Whether two responses stand in the middle."""
        return self.k % 2 == 0

    @property
    def first(self) -> int:
        """Place of the first prompt among all, from 1."""
        return (self.number - 1) * PER_PAGE + 1

    @property
    def last(self) -> int:
        """Place of the last prompt."""
        return self.first + len(self.rankings) - 1

    @property
    def previous(self) -> int:
        """The page before; 0 where there is none."""
        return self.number - 1

    @property
    def next(self) -> int:
        """The page after; 0 where there is none."""
        return self.number + 1 if self.has_next else 0


def rankings(directory: Path) -> Iterator[Ranking]:
    """Every prompt that was ranked so far, in the run's order; a half-written last line is left out."""
    return (_ranking(line) for line in _lines(directory))


def page(directory: Path, *, number: int) -> RankingPage | None:
    """One page of rankings; None where it would be empty."""
    number = min(max(number, 1), FURTHEST_PAGE)
    start = (number - 1) * PER_PAGE
    found = [_ranking(line) for line in islice(_lines(directory), start, start + PER_PAGE + 1)]
    if not found:
        return None
    return RankingPage(rankings=found[:PER_PAGE], number=number, has_next=len(found) > PER_PAGE)


def _ranking(line: str) -> Ranking:
    row = json.loads(line)
    return Ranking(messages=row["messages"], objective=row["objective"], responses=row["responses"])


def _lines(directory: Path) -> Iterator[str]:
    for path, opener in ((directory / PUBLISHED, gzip.open), (directory / GROWING, open)):
        try:
            stream = opener(path, "rt", encoding="utf-8")
        except FileNotFoundError:
            continue
        with stream:
            yield from (line for line in stream if line.endswith("\n"))
        return
