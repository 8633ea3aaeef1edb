"""A teacher's stored top log-probabilities, and a student's divergence from them.

It does not know prompts, runs or files.

B sequences, T tokens, K stored tokens per position, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-7  # of a probability: keeps logarithms finite when the top tokens hold all the mass


@dataclass(frozen=True, kw_only=True)
class TopLogprobs:
    """Per position the K most likely tokens, their log-probabilities and the remaining mass."""

    token_ids: Tensor  # (…, K) int32
    logprobs: Tensor  # (…, K) float32
    rest: Tensor  # (…) float32, log of the remaining mass

    def to(self, device: torch.device) -> "TopLogprobs":
        """The same on another device."""
        return TopLogprobs(
            token_ids=self.token_ids.to(device),
            logprobs=self.logprobs.to(device),
            rest=self.rest.to(device),
        )


def top_logprobs(logits: Tensor, *, count: int) -> TopLogprobs:
    """The `count` most likely tokens of (…, V) logits, and the log of what is left."""
    logprobs = logits.float().log_softmax(-1)  # (…, V)
    best = logprobs.topk(count, dim=-1)
    return TopLogprobs(
        token_ids=best.indices.int(), logprobs=best.values, rest=remaining_mass(best.values)
    )


def remaining_mass(logprobs: Tensor) -> Tensor:
    """Log of one minus the sum of probabilities, (…, K) -> (…), floored to stay finite."""
    mass = logprobs.exp().sum(-1)
    return (1.0 - mass).clamp(min=SMALLEST).log()


def teacher_student_kl(*, teacher: TopLogprobs, student_logits: Tensor) -> Tensor:
    """KL(teacher || student) over K + 1 classes, (…, V) logits -> (…) nats (Askell et al. 2021).

    The last class is the mass outside the teacher's K tokens, so the student is not asked about
    the order of what the teacher did not store.
    """
    logprobs = student_logits.float().log_softmax(-1)
    student = logprobs.gather(-1, teacher.token_ids.long())  # (…, K)
    kept = (teacher.logprobs.exp() * (teacher.logprobs - student)).sum(-1)
    rest = teacher.rest.exp() * (teacher.rest - remaining_mass(student))
    return kept + rest


def at(top: TopLogprobs, rows: Tensor) -> TopLogprobs:
    """Some sequences of stored log-probabilities."""
    return TopLogprobs(
        token_ids=top.token_ids[rows], logprobs=top.logprobs[rows], rest=top.rest[rows]
    )


def joined(parts: list[TopLogprobs]) -> TopLogprobs:
    """Stored log-probabilities of several batches, end to end."""
    return TopLogprobs(
        token_ids=torch.cat([part.token_ids for part in parts]),
        logprobs=torch.cat([part.logprobs for part in parts]),
        rest=torch.cat([part.rest for part in parts]),
    )
