"""The pairwise loss of preference models and its statistics.

It does not know models or batches: scores in, loss and numbers out.

Legend: B comparisons.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STRONGEST = 4


@dataclass(frozen=True, kw_only=True)
class PairwiseLoss:
    """Weighted sum of the losses of B comparisons, and what was right; divide by the whole step's weight."""

    loss_sum: Tensor  # () differentiable
    correct: Tensor  # (B,) 1 where chosen scores higher, 1/2 on an exact tie
    margin: Tensor  # (B,) chosen − rejected, detached


def pairwise_loss(
    *,
    chosen: Tensor,
    rejected: Tensor,
    weights: Tensor | None = None,
    margins: Tensor | None = None,
    soft_labels: Tensor | None = None,
) -> PairwiseLoss:
    """-log sigmoid(chosen − rejected) (Bai et al. 2022, §2.2), all (B,).

    `margins` are subtracted from the difference; `soft_labels` are the probability that chosen is better.
    """
    (B,) = chosen.shape
    assert rejected.shape == (B,), f"chosen {tuple(chosen.shape)}, rejected {tuple(rejected.shape)}"
    difference = chosen - rejected  # (B,)
    logits = difference if margins is None else difference - margins
    if soft_labels is None:
        losses = -F.logsigmoid(logits)
    else:
        losses = -soft_labels * F.logsigmoid(logits) - (1 - soft_labels) * F.logsigmoid(-logits)
    if weights is not None:
        losses = losses * weights
    detached = difference.detach()
    correct = (torch.sign(detached) + 1) / 2
    return PairwiseLoss(loss_sum=losses.sum(), correct=correct, margin=detached)


def strength_margins(strengths: list[int | None], *, per_step: float) -> Tensor:
    """0 for an unknown or the weakest strength, then `per_step` more for each step: (B,)."""
    steps = [0.0 if strength is None else float(strength - 1) for strength in strengths]
    return torch.tensor(steps) * per_step


def strength_soft_labels(strengths: list[int | None], *, weakest: float) -> Tensor:
    """From `weakest` (strength 1) linearly to 1 (strength 4, or unknown): (B,)."""
    steps = [
        1.0 if strength is None else (strength - 1) / (STRONGEST - 1) for strength in strengths
    ]
    return weakest + (1 - weakest) * torch.tensor(steps)
