"""Best-of-k: which of k candidates to return, given their scores.

Does not know how candidates were sampled or scored.
"""

import math
from collections.abc import Sequence


class NotRankable(ValueError):
    """The scores cannot be ordered; the message says which one is at fault."""


def ranked(scores: Sequence[float]) -> list[int]:
    """Indices of the candidates, best first; equal scores keep their order of sampling."""
    if not scores:
        raise NotRankable("there is no candidate to rank")
    for index, score in enumerate(scores):
        if not math.isfinite(score):
            raise NotRankable(f"candidate {index} has score {score}: the ranker is broken")
    return sorted(range(len(scores)), key=lambda index: -scores[index])


def mean_logprob(logprobs: Sequence[float]) -> float:
    """Average log-probability per token: the ranking where no preference model is named."""
    return sum(logprobs) / len(logprobs) if logprobs else 0.0
